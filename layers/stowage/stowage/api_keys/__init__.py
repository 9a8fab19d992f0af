"""API keys of a tenant, for programs: made, listed, revoked (docs/api.md, API keys).

A key has two items: one by its id, which every request with it reads, and one below its tenant, which lists it.
"""

import hashlib
import hmac
import os
from datetime import datetime
from typing import Any

from stowage.access.api_keys import ID_LENGTH, PREFIX, ApiKey, derived, hash_of, make_key, place_of
from stowage.access.idempotency import IdempotencyKey
from stowage.access.identity import Identity, for_role
from stowage.api_keys.records import ApiKeyEntry, MadeApiKey, WantedApiKey, entry
from stowage.aws import table
from stowage.aws.table import ABSENT, PRESENT, ConditionFailedError, Delete, Item, Put, Update, Write
from stowage.basics.errors import BadRequestError, ConflictError, NotFoundError, UnavailableError
from stowage.basics.ids import rfc3339
from stowage.runs.audit_notes import audit_entry
from stowage.runs.request import KEYS_LIVE, keep_answer, kept_answer
from stowage.tenants import Tenant

MOST_KEYS = 50
"""Of one tenant."""
_LISTED = "APIKEY#"


@for_role("admin")
def create_key(tenant: Tenant, identity: Identity, wanted: WantedApiKey, now: datetime, once: str | None) -> MadeApiKey:
    """Make a key, which is told this once; the same again for the same Idempotency-Key (`once`).

    BadRequestError for a time that is past, ConflictError `too_many_keys` where the tenant has `MOST_KEYS`.
    """
    if wanted.expiresAt and wanted.expiresAt <= now:
        raise BadRequestError(
            "The key would have expired already.",
            details=[{"field": "expiresAt", "message": "lies in the past"}],
        )
    given = wanted.model_dump(mode="json")
    repeated = IdempotencyKey.of(tenant.id, identity.sub, "POST api-keys", once, given)
    if repeated and (kept := kept_answer(repeated, now)):
        return _again(kept)
    nonce = os.urandom(32).hex()
    key = _key_of(nonce)
    if len(list(table.query(f"T#{tenant.id}", prefix=_LISTED))) >= MOST_KEYS:
        raise ConflictError(f"A tenant has {MOST_KEYS} API keys at most; revoke one first.", "too_many_keys")
    item = _item(tenant, identity, wanted, key, now)
    answer = MadeApiKey(**_told(item), key=key.text)
    note = audit_entry(tenant.id, tenant.database, "api_key.created", key.id, identity.sub, now, given)
    writes: list[Write] = [
        Put(item, when={"pk": ABSENT}),
        Put({"pk": f"T#{tenant.id}", "sk": _LISTED + key.id}, when={"pk": ABSENT}),
        note,
    ]
    if repeated:
        writes.append(keep_answer(repeated, answer.model_dump(exclude={"key"}) | {"nonce": nonce}, now))
    try:
        table.transact(writes)
    except ConditionFailedError as error:
        if repeated and (kept := kept_answer(repeated, now)):
            return _again(kept)
        raise UnavailableError("Two requests at once; send this one again.", retry_after=1) from error
    return answer


@for_role("admin")
def list_keys(tenant: Tenant, identity: Identity) -> list[ApiKeyEntry]:  # noqa: ARG001
    """A tenant's keys, newest first, those that have expired too, never the keys themselves."""
    listed = table.query(f"T#{tenant.id}", prefix=_LISTED)
    items = [item for each in listed if (item := table.get(*place_of(each["sk"].removeprefix(_LISTED))))]
    return [entry(item) for item in sorted(items, key=lambda item: str(item["created_at"]), reverse=True)]


@for_role("admin")
def revoke_key(tenant: Tenant, identity: Identity, key_id: str, now: datetime) -> None:
    """Let a key of this tenant open nothing any more, from the next request on; NotFoundError."""
    note = audit_entry(tenant.id, tenant.database, "api_key.revoked", key_id, identity.sub, now, None)
    pk, sk = place_of(key_id)
    # Its own item stays until no repetition of the request that made it can bring it back.
    revoked: Item = {"revoked_at": rfc3339(now), "ttl": int((now + 2 * KEYS_LIVE).timestamp())}
    try:
        table.transact(
            [
                Delete(f"T#{tenant.id}", _LISTED + key_id, when={"pk": PRESENT}),
                Update(pk, sk, revoked, when={"tenant": tenant.id}),
                note,
            ]
        )
    except ConditionFailedError:
        raise NotFoundError("There is no such API key.") from None


def _key_of(nonce: str) -> ApiKey:
    """The key that only this deployment can make of a nonce, which is all that is kept for a repeated request."""
    return make_key(hmac.new(derived("new api keys"), nonce.encode(), hashlib.sha256).digest())


def _again(kept: dict[str, Any]) -> MadeApiKey:
    return MadeApiKey(
        **{name: value for name, value in kept.items() if name != "nonce"}, key=_key_of(kept["nonce"]).text
    )


def _item(tenant: Tenant, identity: Identity, wanted: WantedApiKey, key: ApiKey, now: datetime) -> Item:
    pk, sk = place_of(key.id)
    expires: dict[str, Any] = {}
    if wanted.expiresAt:
        expires = {"expires_at": rfc3339(wanted.expiresAt)}
    return {
        "pk": pk,
        "sk": sk,
        "id": key.id,
        "tenant": tenant.id,
        "name": wanted.name,
        "role": wanted.role,
        "prefix": key.text[: len(PREFIX) + ID_LENGTH],
        "hash": hash_of(key),
        "created_at": rfc3339(now),
        "created_by": identity.sub,
        **expires,
    }


def _told(item: Item) -> dict[str, Any]:
    shown = entry(item)
    return shown.model_dump(include={"id", "name", "role", "prefix", "expiresAt", "createdAt"})
