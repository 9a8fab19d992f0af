"""What a client asks of a file import, and what it is told (docs/api.md)."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from stowage.entities.declaration import Entity
from stowage.imports.files.columns import Naming
from stowage.imports.files.reading import Layout
from stowage.imports.files.reading.lines import ENCODINGS, codec_of
from stowage.imports.files.reading.rows import MOST_COLUMNS
from stowage.runs.record import Run
from stowage.tenants import Tenant

type FileType = Literal["csv", "ndjson", "xlsx"]
type OnConflict = Literal["fail", "skip", "update"]

MOST_BYTES = 5 * 1024**3
"""What S3 takes in one upload."""
MOST_MAPPED_BYTES = 200_000
"""An item of the table has 400 KB (DynamoDB developer guide, "Constraints")."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _file_name(name: str) -> str:
    if _CONTROLS.search(name):
        raise ValueError("a file name has no control characters")
    return name


def _column(name: str) -> str:
    if "\0" in name:
        raise ValueError("no column's name holds a NUL character")
    return name


def _encoding(name: str) -> str:
    found = codec_of(name)
    if found is None:
        raise ValueError(f"expected one of {', '.join(ENCODINGS)}")
    return found


def _delimiter(text: str) -> str:
    if len(text) != 1 or text.isalnum() or text in '"\r\n\0 ' or "\ud800" <= text <= "\udfff":
        raise ValueError("expected one character that is no letter, digit, quote, space or line end, such as ;")
    return text


Column = Annotated[str, AfterValidator(_column)]
"""A column as the file's header names it."""


class FileImportRequest(BaseModel):
    """The body of `POST import/{entity}/file`.

    `size` is the most that the upload may have, in bytes. `mapping` names the field of a column (or of a key) that is
    not called as the API calls it; null leaves the column out, `ignoreUnknown` every column that is no field.
    `encoding` and `delimiter` say how the text is written, if not in UTF-8 with commas. `onConflict` says what becomes
    of a row whose record is there already: it fails (the default), is skipped, or changes the record.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    filename: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_file_name)]
    size: Annotated[int, Field(ge=1, le=MOST_BYTES, strict=True)]
    type: FileType
    mapping: Annotated[dict[Column, str | None], Field(max_length=MOST_COLUMNS)] | None = None
    ignoreUnknown: bool = False
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = None
    onConflict: OnConflict = "fail"

    @field_validator("mapping")
    @classmethod
    def _small(cls, mapping: dict[str, str | None] | None) -> dict[str, str | None] | None:
        if sum(len(column.encode()) for column in mapping or ()) > MOST_MAPPED_BYTES:
            raise ValueError("the names of the columns may have 200 kB in all; ignoreUnknown leaves columns out too")
        return mapping

    @field_validator("encoding", "delimiter")
    @classmethod
    def _fits_type(cls, given: str | None, info: ValidationInfo) -> str | None:
        takes = ("csv", "ndjson") if info.field_name == "encoding" else ("csv",)
        file_type = info.data.get("type")
        if given is not None and file_type is not None and file_type not in takes:
            raise ValueError(f"a file of type {file_type} has none")
        return given


class UploadForm(BaseModel):
    """Where to POST the file, as multipart/form-data: first these fields, then `file`."""

    url: str
    fields: dict[str, str]


class FileImportCreated(BaseModel):
    """A file import that waits for its file."""

    id: str
    upload: UploadForm
    expiresAt: str


def _mapping(kept: object) -> object:
    return json.loads(kept) if isinstance(kept, str) else kept


class FileImportSpec(BaseModel):
    """What a run of kind `import` keeps: what was asked for, and which object was there when it was started."""

    entity: str
    schema_name: str
    type: FileType
    mapping: Annotated[dict[str, str | None], BeforeValidator(_mapping), PlainSerializer(json.dumps)]
    """Kept as JSON in a text: an attribute of the table has no empty name, a column may."""
    ignore_unknown: bool = False
    encoding: str | None = None
    delimiter: str | None = None
    on_conflict: OnConflict
    filename: str
    key: str
    size: int
    etag: str

    def naming(self, entity: Entity) -> Naming:
        """Which field each column is."""
        return Naming(entity, self.mapping, ignores_unknown=self.ignore_unknown)

    def layout(self, entity: Entity) -> Layout:
        """How the file is written."""
        return Layout(self.type, self.encoding, self.delimiter, self.naming(entity).drops_unnamed)

    @classmethod
    def of(cls, spec: dict[str, Any]) -> "FileImportSpec":
        """The spec of a run."""
        return cls.model_validate(spec)

    def tenant(self, tenant_id: str, database: str) -> Tenant:
        """The tenant as it was when the import was asked for."""
        return Tenant(tenant_id, tenant_id, tenant_id, database, schema=self.schema_name)


def job_result(run: Run, now: datetime, link: Callable[[str], str | None]) -> dict[str, Any]:
    """What the job of an import tells: its counts, and links to the files that tell what became of each row."""
    outcome = run.outcome
    assert outcome is not None, "a job without one has no result"
    files = {name: link(name) for name in outcome.files}
    return {"import_id": run.id, **outcome.facts, "files": files, "expired": run.is_expired(now)}
