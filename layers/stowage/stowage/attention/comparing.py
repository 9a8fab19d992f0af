"""The comparison of the declarations with every tenant's tables, at deployment and hourly."""

from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from typing import Any

from stowage.attention.found import RESULT, read_findings
from stowage.aws import table
from stowage.basics.ids import rfc3339
from stowage.entities.checking import Finding, check, wanted_columns
from stowage.entities.shapes import Absent, Shape
from stowage.postgres.session.transactions import look
from stowage.postgres.tables.shapes import read_shapes
from stowage.postgres.tables.shared import check_shared
from stowage.postgres.tables.unreadable import check_backups
from stowage.tenants import list_tenants
from stowage_entities import DECLARED

MOST_FINDINGS, MOST_TENANTS = 50, 50
"""So many findings are kept, each with so many of its tenants: an item of the table holds 400 KB."""


def check_declarations(now: datetime) -> dict[str, int]:
    """Compare all tenants of all databases, and keep what is found; how many tenants, errors and warnings."""
    by_database = defaultdict[str, dict[str, str]](dict)
    for tenant in list_tenants():
        by_database[tenant.database][tenant.schema] = tenant.id
    absent: list[Absent] = []
    shapes: list[Shape] = []
    shared: list[Finding] = []
    for database, ids in by_database.items():
        missing, found, of_all = look(
            database,
            lambda connection, schemas=ids: _read(connection, list(schemas)),  # type: ignore[misc]
        )
        shared += of_all
        # Two servers may have a schema of the same name.
        absent += [replace(each, schemas=tuple(ids[schema] for schema in each.schemas)) for each in missing]
        shapes += [replace(each, schemas=tuple(ids[schema] for schema in each.schemas)) for each in found]
    findings = [*check(DECLARED, absent, shapes), *dict.fromkeys(shared)]
    errors = sum(finding.severity == "error" for finding in findings)
    before = {_name(kept): kept["since"] for kept in read_findings()}
    kept = [_kept(finding) for finding in findings[:MOST_FINDINGS]]
    for each in kept:
        each["since"] = before.get(_name(each), rfc3339(now))
    pk, sk = RESULT
    table.put({"pk": pk, "sk": sk, "at": rfc3339(now), "errors": errors, "findings": kept})
    return {"tenants": sum(map(len, by_database.values())), "errors": errors, "warnings": len(findings) - errors}


def _read(connection: Any, schemas: list[str]) -> tuple[list[Absent], list[Shape], list[Finding]]:
    absent, shapes = read_shapes(connection, schemas, wanted_columns(DECLARED), named=MOST_TENANTS)
    others = [*check_shared(connection, DECLARED, schemas), *check_backups(connection, DECLARED, schemas, MOST_TENANTS)]
    return absent, shapes, others


def _kept(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity,
        "entity": finding.entity,
        "sentence": finding.sentence,
        "count": finding.tenants,
        "tenants": list(finding.schemas[:MOST_TENANTS]),
    }


def _name(kept: dict[str, Any]) -> tuple[Any, ...]:
    return kept["severity"], kept["entity"], kept["sentence"]
