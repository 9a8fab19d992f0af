"""An export's attempt in its lane: the source that Postgres formats, and what its manifest tells."""

from stowage.entities.absence import without
from stowage.entities.declared import ENTITIES
from stowage.entities.filters import EVERYTHING, parse_filters
from stowage.exports.formats import CONTENT_TYPES, EXTENSIONS, open_export
from stowage.postgres.session.connection import APP, connect
from stowage.postgres.session.disagreements import lacking_entities
from stowage.runs.attempt import Attempt, Product
from stowage.runs.record import Run


def make_export(attempt: Attempt) -> None:
    """Store the export and its manifest, which names what an export of everything leaves out (`absent`)."""
    product, absent = open_product(attempt.run)
    attempt.store(product)
    attempt.finish({"absent": absent} if absent else {})


def open_product(run: Run) -> tuple[Product, list[str]]:
    """Open the export's snapshot; and which entities an export of everything leaves out, because the tenant has no
    table for them. The source owns the connection and closes it. NotFoundError where one entity is exported that the
    tenant has no table for.
    """
    spec = run.spec
    whole = spec["dataType"] == EVERYTHING
    filters = None if whole else parse_filters(spec["dataType"], spec["filters"])
    connection = connect(run.database, APP)
    try:
        lacking = lacking_entities(connection, spec["schema"])
        with without(lacking):
            source = open_export(
                connection,
                spec["schema"],
                run.tenant,
                data_type=spec["dataType"],
                format=spec["format"],
                filters=filters,
                bom=spec.get("bom", False),
            )
    except BaseException:
        connection.close()
        raise
    file_type = EVERYTHING if whole else spec["format"]
    product = Product(
        object_name=f"export.{EXTENSIONS[file_type]}",
        file_name=spec["filename"],
        content_type=CONTENT_TYPES[file_type],
        source=source,
        manifest={"format": spec["format"], "data_type": spec["dataType"], "filters": spec["filters"]},
    )
    return product, [name for name in sorted(lacking) if whole and name in ENTITIES and ENTITIES[name].gdpr]
