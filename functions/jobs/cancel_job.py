"""POST /api/jobs/{job_id}/cancel: stop a run."""

from aws_lambda_powertools.event_handler import Response

from stowage import jobs
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, Id, http_app, json_response
from stowage.runs.actions import must_be_able
from stowage.runs.change import cancel_run
from stowage.runs.store import read_run, tenant_of

app = http_app("operator", answers=(Answer(202, Data[jobs.Job]),), refuses=(409,))


@app.post("/api/jobs/<job_id>/cancel")
def cancel_job(caller: Caller, job_id: Id) -> Response[Data[jobs.Job]]:
    """Ask a running job to stop, or take a waiting one out of the queue."""
    run = read_run(caller.must_see_run(tenant_of(job_id)), job_id)
    must_be_able("cancel", run, caller.identity, caller.now)
    changed = cancel_run(run, caller.sub, caller.now)
    return json_response(Data(data=jobs.job(changed, caller.identity, caller.now, caller.base_url)), 202)
