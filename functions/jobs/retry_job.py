"""POST /api/jobs/{job_id}/retry: start a failed or cancelled run anew."""

from aws_lambda_powertools.event_handler import Response

from stowage import jobs
from stowage.entry.answers import Answer
from stowage.entry.http import Caller, Data, Id, http_app, json_response
from stowage.runs.actions import must_be_able
from stowage.runs.change import retry_run
from stowage.runs.store import read_run, tenant_of

app = http_app("operator", answers=(Answer(202, Data[jobs.Job]),), refuses=(409, 410))


@app.post("/api/jobs/<job_id>/retry")
def retry_job(caller: Caller, job_id: Id) -> Response[Data[jobs.Job]]:
    """Make a new attempt; the timeline keeps the earlier ones."""
    run = read_run(caller.must_see_run(tenant_of(job_id)), job_id)
    must_be_able("retry", run, caller.identity, caller.now)
    changed = retry_run(run, caller.sub, caller.now)
    return json_response(Data(data=jobs.job(changed, caller.identity, caller.now, caller.base_url)), 202)
