"""The sample tenants, and how they come into a database that `migrate` has prepared."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from local.sample.rows import Sizes, fill
from local.sample.trash import fill_trash
from stowage.postgres.schema.migrations import create_tenant
from stowage.postgres.schema.registry import read_tenant
from stowage.postgres.session.command_line import connect_as
from stowage.tenants import Tenant


@dataclass(frozen=True)
class SampleTenant:
    """One sample tenant; its id is its slug. `mark` stands before its texts, `extra` is SQL of its own."""

    slug: str
    name: str
    sizes: Sizes
    mark: str = ""
    trash: bool = False
    extra: str | None = None


SAMPLE_TENANTS = (
    SampleTenant("acme", "Acme Social", Sizes(5, 20, 20_000, 100_000, 500, 50)),
    SampleTenant("globex", "Globex", Sizes(2, 6, 300, 1_500, 40, 8), trash=True),
    SampleTenant("initech", "Initech", Sizes()),
    # Look-alikes: a pattern that should mean acme alone matches these too, and their ids are acme's.
    SampleTenant("acme2", "Acme 2", Sizes(2, 4, 100, 400, 20, 5), mark="acme2 ", trash=True),
    SampleTenant("acme_x", "Acme X", Sizes(2, 4, 100, 400, 20, 5), mark="acme_x ", trash=True),
    SampleTenant("zoo", "The Zoo", Sizes(2, 4, 60, 240, 20, 5), trash=True, extra="zoo.sql"),
)
"""acme has no trash: what it holds is what every page and every export of it shows."""

_ANALYZE = sql.SQL("ANALYZE {}")

_TABLES = """
SELECT schemaname, tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename
"""


def load(database_url: str, scale: float = 1) -> None:
    """Make the sample tenants that are not there yet, `scale` times their sizes, and print a line for each.

    The login of the URL owns the schemas; it needs what `create_tenant` needs. A tenant comes whole or not at all.
    """
    with connect_as(database_url) as connection:
        for tenant in SAMPLE_TENANTS:
            if is_registered(connection, tenant.slug):
                continue
            began = time.monotonic()
            sizes = tenant.sizes.scaled(scale)
            make(connection, tenant, sizes)
            told = ", ".join(f"{count:,} {name}" for name, count in asdict(sizes).items() if count) or "empty"
            print(f"  {tenant.slug:<8} {told} ({time.monotonic() - began:.1f} s)", flush=True)


def make(connection: psycopg.Connection, tenant: SampleTenant, sizes: Sizes) -> None:
    """Make one tenant in one transaction, then analyse its tables, so that the first estimates are right."""

    def fill_tables() -> None:
        fill(connection, tenant.slug, sizes, tenant.mark)
        if tenant.extra:
            connection.execute((Path(__file__).parent / tenant.extra).read_bytes())

    with connection.transaction():
        create_tenant(connection, tenant.slug, tenant.slug, tenant.name, fill=fill_tables)
        if tenant.trash:
            fill_trash(connection, Tenant(tenant.slug, tenant.slug, tenant.name))
    analyze(connection, tenant.slug)


def analyze(connection: psycopg.Connection, slug: str) -> None:
    """Give the planner, and with it every estimate, the figures of a tenant's tables."""
    for names in connection.execute(_TABLES, (f"tenant_{slug}",)).fetchall():
        connection.execute(_ANALYZE.format(sql.Identifier(*names)))


def is_registered(connection: psycopg.Connection, id: str) -> bool:
    """Whether a tenant of that id is registered: the schemas' owner reads the registry as stowage_owner."""
    with connection.transaction():
        connection.execute("SET LOCAL ROLE stowage_owner")
        return read_tenant(connection, id) is not None
