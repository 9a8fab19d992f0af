"""POST /api/jobs/{job_id}/cancel: stop a run."""

from aws_lambda_powertools.event_handler import Response
from pydantic import BaseModel

from stowage import jobs
from stowage.entry.http import Caller, Id, http_app, json_response
from stowage.exports import must_own
from stowage.runs.change import cancel_run
from stowage.runs.store import read_run, tenant_of

app = http_app("operator")


class Answer(BaseModel):
    """The envelope of the job routes."""

    data: jobs.Job


@app.post("/api/jobs/<job_id>/cancel")
def cancel_job(caller: Caller, job_id: Id) -> Response[Answer]:
    """Ask a running job to stop, or take a waiting one out of the queue."""
    run = read_run(caller.must_see_run(tenant_of(job_id)), job_id)
    must_own(run, caller.identity)
    return json_response(Answer(data=jobs.job(cancel_run(run, caller.sub, caller.now))), 202)
