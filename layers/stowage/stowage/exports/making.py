"""An export's attempt in its lane: the source that Postgres formats, and what its manifest tells."""

from stowage.entities.filters import EVERYTHING, parse_filters
from stowage.exports.formats import CONTENT_TYPES, EXTENSIONS, open_export
from stowage.postgres.session.connection import APP, connect
from stowage.runs.attempt import Attempt, Product
from stowage.runs.record import Run


def make_export(attempt: Attempt) -> None:
    """Store the export and its manifest."""
    attempt.store(open_product(attempt.run))
    attempt.finish({})


def open_product(run: Run) -> Product:
    """Open the export's snapshot. The source owns the connection and closes it."""
    spec = run.spec
    whole = spec["dataType"] == EVERYTHING
    connection = connect(run.database, APP)
    try:
        source = open_export(
            connection,
            spec["schema"],
            run.tenant,
            data_type=spec["dataType"],
            format=spec["format"],
            filters=None if whole else parse_filters(spec["dataType"], spec["filters"]),
            bom=spec.get("bom", False),
        )
    except BaseException:
        connection.close()
        raise
    file_type = EVERYTHING if whole else spec["format"]
    return Product(
        object_name=f"export.{EXTENSIONS[file_type]}",
        file_name=spec["filename"],
        content_type=CONTENT_TYPES[file_type],
        source=source,
        manifest={"format": spec["format"], "data_type": spec["dataType"], "filters": spec["filters"]},
    )
