"""GET /api/jobs/{job_id}: one run."""

from aws_lambda_powertools.event_handler import Response

from stowage import jobs
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, Id, http_app, json_or_unchanged
from stowage.runs.store import read_progress, read_run

TAGGED = ("ETag", "Cache-Control")
app = http_app(answers=(Answer(200, Data[jobs.Job], TAGGED), Answer(304, None, TAGGED)), reads=("If-None-Match",))


@app.get("/api/jobs/<job_id>")
def get_job(caller: Caller, job_id: Id) -> Response[Data[jobs.Job] | None]:
    """Show one run with its progress; its tenant is the run's own. 304 to who knows it already."""
    progress = read_progress(job_id)
    tenant = caller.must_see_run(progress and progress["tenant"])
    run = read_run(tenant, job_id)
    job = jobs.job(run, caller.identity, caller.now, caller.base_url, progress)
    return json_or_unchanged(caller.has, Data(data=job))
