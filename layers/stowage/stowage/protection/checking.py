"""The hourly check that backups were made: it did not run is what nobody else would notice.

It goes by the history of verified backups and the tenants' schedules, never by what the clock has done, and has a
schedule and an alarm of its own: a clock that stands still is what it is to find out.
"""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from itertools import batched

from stowage.aws import table
from stowage.aws.table import Write
from stowage.basics.ids import rfc3339
from stowage.protection.standing import Standing, standings
from stowage.runs.audit_notes import audit_entry
from stowage.runs.summary import noting
from stowage.tenants import list_tenants

MISSED = "backup.missed"
"""The event of a tenant whose verified backup is late, once for each time that it is."""
LATE = "late_since"
"""What the tenant's summary has meanwhile, so that nobody is told twice."""
_AT_ONCE = 20
"""Tenants that are noted in one transaction."""


def check_protection(now: datetime) -> dict[str, int]:
    """Tell of each tenant that has become late; how many `tenants` there are, how many are `late`, and how many are
    `missed` for the first time.
    """
    found = list(standings(list_tenants(), now))
    changed = [each for each in found if bool(each.late_since) != (LATE in each.summary)]
    for some in batched(changed, _AT_ONCE, strict=False):
        table.transact([write for each in some for write in _changing(each, now)])
    return {
        "tenants": len(found),
        "late": sum(each.late_since is not None for each in found),
        "missed": sum(each.late_since is not None for each in changed),
    }


def _changing(standing: Standing, now: datetime) -> Iterator[Write]:
    late = standing.late_since
    yield noting(standing.tenant.id, {LATE: rfc3339(late) if late else None})
    if late:
        yield from tell(standing, now)


def tell(standing: Standing, now: datetime) -> Iterator[Write]:
    """The writes that tell of a breach, in the transaction that notes it: whoever is told otherwise hooks in here."""
    verified, tenant = standing.summary.get("last_verified"), standing.tenant
    facts = {
        "late_since": rfc3339(standing.late_since) if standing.late_since else None,
        "last_verified": {"id": verified["id"], "completed_at": verified["at"]} if verified else None,
        "age_allowed_seconds": int(standing.allowed.total_seconds()) if standing.allowed else None,
    }
    yield audit_entry(tenant.id, tenant.database, MISSED, tenant.id, "stowage", now, facts)


def metrics(found: dict[str, int], now: datetime) -> str:
    """What was found, as CloudWatch takes metrics out of a log (its embedded metric format). `ProtectionChecks` counts
    the checks, so that one which does not come is an alarm too.
    """
    values = {"ProtectionChecks": 1, "TenantsLate": found["late"], "BackupsMissed": found["missed"]}
    named = [{"Name": name, "Unit": "Count"} for name in values]
    about = {"Namespace": "Stowage", "Dimensions": [["FunctionName"]], "Metrics": named}
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
    told = {"_aws": {"Timestamp": int(now.timestamp() * 1000), "CloudWatchMetrics": [about]}, "FunctionName": function}
    return json.dumps(told | values)
