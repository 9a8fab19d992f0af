"""An edit: a change of a tenant's records, by whom, when and under which operation, and how its work is done."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import psycopg

from stowage.access.idempotency import IdempotencyKey
from stowage.access.identity import Identity, Role
from stowage.basics.ids import new_operation_id
from stowage.entities.declared import ENTITIES
from stowage.postgres.session.connection import APP
from stowage.postgres.session.idempotency import KeptAnswer, keep, replayed
from stowage.postgres.session.marks import mark_dirty
from stowage.postgres.session.own_rules import qualified, refuse_followed
from stowage.postgres.session.search_path import follow_search_path
from stowage.postgres.session.transactions import REQUEST_SECONDS, transact
from stowage.tenants import Tenant

logger = logging.getLogger(__name__)
"""The standard library's: the worker runs edits too, and its image has no Powertools."""


class Asking(Protocol):
    """Who sends a request that changes something, as an entry knows them."""

    now: datetime
    identity: Identity

    @property
    def idempotency_key(self) -> str | None:
        """The request's Idempotency-Key, where it has one."""


@dataclass(frozen=True)
class Edit:
    """One operation on a tenant's records.

    `actor` is who the journal names, `role` what they may do. `key` is the request's Idempotency-Key, where it has one.
    `login` is the database's role that does the work, `seconds` what all of it may take. Without an `operation` it gets
    a new one.
    """

    tenant: Tenant
    actor: str
    role: Role
    at: datetime
    key: str | None = None
    login: str = APP
    seconds: float = REQUEST_SECONDS
    operation: str = ""

    def __post_init__(self) -> None:
        if not self.operation:
            object.__setattr__(self, "operation", new_operation_id(self.at))

    @classmethod
    def by(cls, caller: Asking, tenant: Tenant) -> "Edit":
        """What a caller's request is to do on a tenant of theirs."""
        return cls(tenant, caller.identity.sub, caller.identity.role, caller.now, caller.idempotency_key)

    def anew(self) -> "Edit":
        """The same under another operation: of work in several transactions each is one."""
        return replace(self, operation="")

    @property
    def schema(self) -> str:
        """The schema that holds the tenant's tables."""
        return self.tenant.schema

    @property
    def given(self) -> dict[str, object]:
        """The parameters of every statement that appends to the journal."""
        return {"tenant": self.tenant.id, "operation": self.operation, "actor": self.actor, "at": self.at}

    def run[T](self, work: Callable[[psycopg.Connection], T], again_on: tuple[type[psycopg.Error], ...] = ()) -> T:
        """What `work` returns, done in one transaction (`transact`), with the tenant marked dirty."""
        return self._done(lambda connection: (work(connection), True), again_on)

    def answer_once(
        self,
        route: str,
        body: bytes,
        work: Callable[[psycopg.Connection], KeptAnswer],
        again_on: tuple[type[psycopg.Error], ...] = (),
    ) -> KeptAnswer:
        """The answer that `work` gives, done as in `run`; or the one that the same key and body were given before.

        `route` is the operation's own name (`POST bulk/delete`), under which a key counts. ConflictError as `replayed`.
        """
        key = IdempotencyKey.of(self.tenant.id, self.actor, route, self.key, body)

        def once(connection: psycopg.Connection) -> tuple[KeptAnswer, bool]:
            if kept := replayed(connection, key):
                return kept, False
            answer = work(connection)
            keep(connection, key, answer)
            return answer, True

        return self._done(once, again_on)

    def _done[T](
        self, work: Callable[[psycopg.Connection], tuple[T, bool]], again_on: tuple[type[psycopg.Error], ...]
    ) -> T:
        """`work` also says whether it has changed anything.

        The mark is set before the commit, so that no change is without one; and again after it, because whoever
        followed the first one may have read the journal too early.
        """

        def marked(connection: psycopg.Connection) -> tuple[T, bool]:
            rules = follow_search_path(
                connection, self.schema, [qualified(self.schema, each) for each in ENTITIES.values()]
            )
            outcome, has_changed = work(connection)
            if has_changed:
                refuse_followed(connection, rules, self.tenant.id, self.operation)
                mark_dirty(self.tenant.id, self.tenant.database, self.at)
            return outcome, has_changed

        outcome, has_changed = transact(
            self.tenant.database,
            marked,
            schema=self.schema,
            role=self.login,
            again_on=again_on,
            seconds=self.seconds,
        )
        if has_changed:
            try:
                mark_dirty(self.tenant.id, self.tenant.database, self.at)
            except Exception:  # what is committed stays so, and the first mark is there
                logger.exception("tenant %s is not marked again", self.tenant.id)
        return outcome
