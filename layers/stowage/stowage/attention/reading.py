"""What someone should look at (`GET /api/v1/attention`)."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel

from stowage.attention.found import read_findings
from stowage.delivery.standing import read_failing


class AttentionEntry(BaseModel):
    """Something to look at: since when, of which tenant (None: of all, or of more than are named)."""

    kind: Literal["declaration", "destination"]
    severity: Literal["error", "warning"]
    tenant: str | None
    since: str
    facts: dict[str, Any]
    actions: list[str]


class AttentionList(BaseModel):
    """The answer of `GET /api/v1/attention`."""

    data: list[AttentionEntry]


def read_attention(sees: Callable[[str], bool]) -> AttentionList:
    """All that concerns the tenants that the caller sees, errors first."""
    entries = [
        AttentionEntry(
            kind="destination",
            severity="error",
            tenant=item["tenant"],
            since=item["since"],
            facts={"name": item["name"], "code": item["code"], "sentence": item["sentence"]},
            actions=[],
        )
        for item in read_failing(sees)
    ]
    for found in read_findings():
        facts = {"entity": found["entity"], "sentence": found["sentence"]}
        named = [tenant for tenant in found["tenants"] if sees(tenant)]
        whose: list[str | None] = [*named]
        if found["count"] is None or found["count"] > len(found["tenants"]):
            whose.append(None)
        entries += [
            AttentionEntry(
                kind="declaration",
                severity=found["severity"],
                tenant=tenant,
                since=found["since"],
                facts=facts,
                actions=[],
            )
            for tenant in whose
        ]
    return AttentionList(data=entries)
