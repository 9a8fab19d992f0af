"""The audit log's file: every entry of the journal that is asked for, without the fields that are hidden."""

from collections.abc import Iterator

from stowage.basics.ids import parse_rfc3339
from stowage.basics.json_numbers import read_json, write_json
from stowage.entities.filters import JOURNAL, Filters
from stowage.exports.formats import estimate, open_export
from stowage.pipeline.source import Source
from stowage.postgres.session.connection import APP, connect
from stowage.postgres.session.transactions import look
from stowage.runs.attempt import Attempt, Product
from stowage.runs.record import Estimate, Run

CONTENT_TYPES = {"json": "application/json", "text": "text/plain; charset=utf-8"}
_WRITTEN_AS = {"json": "json", "text": "ndjson"}
_TOLD = ("at", "actor", "type", "entity", "id", "operation", "before", "after")


def make_logs(attempt: Attempt) -> None:
    """Store the log and its manifest."""
    run = attempt.run
    connection = connect(run.database, APP)
    try:
        source: Source = open_export(
            connection,
            run.spec["schema"],
            run.tenant,
            data_type=JOURNAL,
            format=_WRITTEN_AS[run.spec["format"]],
            filters=_filters(run),
        )
    except BaseException:
        connection.close()
        raise
    asked = {name: run.spec[name] for name in ("format", "since", "until", "max_entries")}
    attempt.store(
        Product(
            object_name=run.spec["file_name"],
            file_name=run.spec["file_name"],
            content_type=CONTENT_TYPES[run.spec["format"]],
            source=Lines(source) if run.spec["format"] == "text" else source,
            manifest=asked | {"compression": None},
        )
    )
    attempt.finish({})


def _filters(run: Run) -> Filters:
    since, until = run.spec["since"], run.spec["until"]
    return Filters(
        created_after=parse_rfc3339(since) if since else None,
        created_before=parse_rfc3339(until) if until else None,
        newest=run.spec["max_entries"],
    )


def estimate_run(run: Run) -> Estimate:
    """The size of the log, as the planner expects it."""
    found = look(
        run.database,
        lambda connection: estimate(
            connection, run.spec["schema"], run.tenant, JOURNAL, _filters(run), _WRITTEN_AS[run.spec["format"]]
        ),
    )
    return Estimate(rows=found.rows, bytes=found.bytes)


class Lines:
    """Entries that come as lines of JSON, each as a line of text: when, who, what, and how the record was and became.

    A value is a JSON text, so it holds no end of a line.
    """

    rows = 0

    def __init__(self, source: Source) -> None:
        self._source = source

    def chunks(self) -> Iterator[bytes]:
        """The lines, as they come."""
        rest = b""
        for chunk in self._source.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            self.rows = self._source.rows
            yield b"".join(map(_line, lines))
        if rest:
            yield _line(rest)

    def finish(self) -> None:
        """Return only if the source is complete."""
        self._source.finish()
        self.rows = self._source.rows

    def close(self) -> None:
        """End the source."""
        self._source.close()


def _line(entry: bytes) -> bytes:
    told = read_json(entry)
    values = (f"{name}={write_json(told[name])}" for name in _TOLD if told.get(name) is not None)
    return f"{told['seq']} {' '.join(values)}\n".encode()
