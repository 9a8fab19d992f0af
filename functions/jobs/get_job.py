"""GET /api/jobs/{job_id}: one run."""

from stowage import jobs
from stowage.entry.http import Caller, Data, Id, http_app
from stowage.runs.store import read_progress, read_run

app = http_app()


@app.get("/api/jobs/<job_id>")
def get_job(caller: Caller, job_id: Id) -> Data[jobs.Job]:
    """Show one run with its progress; its tenant is the run's own."""
    progress = read_progress(job_id)
    tenant = caller.must_see_run(progress and progress["tenant"])
    base_url = caller.base_url if caller.identity.may("operator") else None
    return Data(data=jobs.job(read_run(tenant, job_id), caller.now, progress, base_url))
