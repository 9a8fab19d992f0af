"""GET /api/jobs/{job_id}/timeline: what a run did, and when."""

from stowage import jobs
from stowage.entry.http import Caller, Data, Id, http_app
from stowage.runs.store import read_run, tenant_of

app = http_app()


@app.get("/api/jobs/<job_id>/timeline")
def get_job_timeline(caller: Caller, job_id: Id) -> Data[jobs.Timeline]:
    """Show the stages, every attempt, the manifest and about what it cost."""
    run = read_run(caller.must_see_run(tenant_of(job_id)), job_id)
    return Data(data=jobs.read_timeline(run, caller.now))
