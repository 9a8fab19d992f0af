"""POST import/{entity}/file/{id}/start: import the file that was uploaded."""

from typing import Literal

from aws_lambda_powertools.event_handler import Response
from pydantic import BaseModel

from stowage.basics.errors import NotFoundError
from stowage.entry.answers import Answer
from stowage.entry.http import Body, Caller, Id, http_app, json_response
from stowage.imports import files
from stowage.jobs import Job


class StartedImport(BaseModel):
    """The envelope of the record routes around a job."""

    success: Literal[True] = True
    data: Job


class Nothing(Body):
    """The body `{}`."""


app = http_app(
    "operator", answers=(Answer(202, StartedImport, ("Location", "Retry-After")),), reads=("Idempotency-Key",)
)


@app.post("/api/v1/import/<entity>/file/<import_id>/start")
def start_file_import(
    caller: Caller,
    entity: str,
    import_id: Id,
    request: Nothing | None = None,  # noqa: ARG001 (that it is `{}` is all there is to it)
) -> Response[StartedImport]:
    """Start the import; its tenant is the one it was asked for."""
    asked = files.find_upload(import_id)
    caller.must_see_run(asked and asked["tenant"])
    if asked is None or asked["entity"] != entity:
        raise NotFoundError("There is no such import.")
    job = files.start_file_import(asked, import_id, caller.identity, caller.now, key=caller.idempotency_key)
    return json_response(
        StartedImport(data=Job(**job)), 202, {"Location": f"/api/jobs/{import_id}", "Retry-After": "2"}
    )
