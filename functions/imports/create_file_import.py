"""POST import/{entity}/file: where to upload a file that is to be imported."""

from typing import Literal

from aws_lambda_powertools.event_handler import Response
from pydantic import BaseModel

from stowage.entry.answers import Answer
from stowage.entry.http import Caller, http_app, json_response
from stowage.imports import files
from stowage.imports.files.records import FileImportCreated, FileImportRequest


class FileImportAnswer(BaseModel):
    """The envelope of the record routes."""

    success: Literal[True] = True
    data: FileImportCreated


app = http_app("operator", answers=(Answer(201, FileImportAnswer),), reads=("X-Tenant-Id", "Idempotency-Key"))


@app.post("/api/v1/import/<entity>/file")
def create_file_import(caller: Caller, entity: str, request: FileImportRequest) -> Response[FileImportAnswer]:
    """Ask for an import; its file goes straight to storage, and the import starts when it is told to."""
    tenant = caller.tenant_named(None)
    created = files.create_file_import(tenant, caller.identity, entity, request, caller.now, key=caller.idempotency_key)
    return json_response(FileImportAnswer(data=created), 201)
