"""What someone should look at (`GET /api/v1/attention`)."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from stowage.access.identity import Identity
from stowage.attention.found import read_findings
from stowage.basics.ids import rfc3339
from stowage.delivery.standing import read_failing
from stowage.protection.fleet import told
from stowage.protection.standing import Standing, standings
from stowage.tenants import Tenant

MOST = 200
"""So many tenants' backups are told of, those first that are late the longest."""


class AttentionEntry(BaseModel):
    """Something to look at: since when, of which tenant (None: of all, or of more than are named).

    `at_risk`: there is no verified backup in time. `failing`: the last backup failed, and one is still in time.
    `missed`: a time of the schedule passed without a backup, and one is still in time. The `facts` of these are those
    of the tenant in `GET /api/backup/protection`; `actions` are what this caller may do about it, with the last failed
    run (`retry`) or the tenant (`back_up`).
    """

    kind: Literal["declaration", "destination", "at_risk", "failing", "missed"]
    severity: Literal["error", "warning"]
    tenant: str | None
    since: str
    facts: dict[str, Any]
    actions: list[str]


class AttentionList(BaseModel):
    """The answer of `GET /api/v1/attention`. `total` counts the entries that are not shown too."""

    data: list[AttentionEntry]
    total: int


def read_attention(identity: Identity, tenants: Sequence[Tenant], now: datetime) -> AttentionList:
    """All that concerns these tenants, which the caller sees: errors first, each kind oldest first."""
    backups = sorted(_of_backups(standings(tenants, now), identity), key=lambda each: (each.severity, each.since))
    entries = [*_of_declarations(identity), *_of_destinations(identity), *backups[:MOST]]
    entries.sort(key=lambda each: each.severity)
    return AttentionList(data=entries, total=len(entries) + len(backups[MOST:]))


def _of_destinations(identity: Identity) -> Iterator[AttentionEntry]:
    for item in read_failing(identity.sees):
        yield AttentionEntry(
            kind="destination",
            severity="error",
            tenant=item["tenant"],
            since=item["since"],
            facts={"name": item["name"], "code": item["code"], "sentence": item["sentence"]},
            actions=[],
        )


def _of_declarations(identity: Identity) -> Iterator[AttentionEntry]:
    for found in read_findings():
        facts = {"entity": found["entity"], "sentence": found["sentence"]}
        whose: list[str | None] = [tenant for tenant in found["tenants"] if identity.sees(tenant)]
        if found["count"] is None or found["count"] > len(found["tenants"]):
            whose.append(None)
        for tenant in whose:
            yield AttentionEntry(
                kind="declaration",
                severity=found["severity"],
                tenant=tenant,
                since=found["since"],
                facts=facts,
                actions=[],
            )


def _of_backups(found: Iterable[Standing], identity: Identity) -> Iterator[AttentionEntry]:
    for each in found:
        failure, kind = each.summary.get("last_failure"), _kind_of(each)
        if kind is None:
            continue
        since = {
            "at_risk": rfc3339(each.late_since) if each.late_since else None,
            "failing": each.summary.get("failing_since") or (failure or {}).get("at"),
            "missed": each.missed_at,
        }[kind]
        yield AttentionEntry(
            kind=kind,
            severity="error" if kind == "at_risk" else "warning",
            tenant=each.tenant.id,
            since=str(since),
            facts=told(each).model_dump(),
            actions=["retry" if failure else "back_up"] if identity.may("admin") else [],
        )


def _kind_of(standing: Standing) -> Literal["at_risk", "failing", "missed"] | None:
    """The worst that is to be said of a tenant's backups."""
    if standing.state == "paused":
        return None
    if standing.late_since:
        return "at_risk"
    if "last_failure" in standing.summary:
        return "failing"
    return "missed" if standing.missed_at else None
