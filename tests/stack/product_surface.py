"""Products as others have them, declared by `inspect` alone: a tenant of each, filled from its declarations."""

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from unittest import mock
from uuid import uuid4

import psycopg
from psycopg import sql

from stowage.entities.declaration import DATABASE, Entity, Field
from stowage.entities.declared import ENTITIES, Entities
from stowage.entities.filters import parse_filters
from stowage.entities.inspecting import write_declarations
from stowage.entities.language import Literals, read_declarations
from stowage.exports.formats import open_export
from stowage.imports.files.columns import Naming
from stowage.imports.files.opening import open_rows
from stowage.imports.files.preparing import Batch, Preparer
from stowage.imports.files.reading import Layout
from stowage.imports.files.validating import row_types
from stowage.imports.files.writing import write_batch
from stowage.postgres.edits.file_batches import ImportSession, begin_import
from stowage.postgres.schema.catalogue import read_tables
from stowage.postgres.session.connection import APP, _kept, connect
from stowage.postgres.session.edit import Edit
from stowage.postgres.tables.trashed import outside_trash
from stowage.records import create_record, list_records
from stowage.settings import settings
from stowage.tenants import Tenant
from tests.conftest import ROOT
from tests.stack.dump_surface import Database
from tests.stack.servers import Server

type Json = Any

NOW = datetime(2026, 11, 28, 12, 0, 0, 123456, tzinfo=UTC)
TENANT = Tenant("shop", "shop", "Shop", schema='The "Shop" ü')
SECURED = ("prisma", "workspace")
"""Products with row-level security, whose tables belong to a role that Stowage's become members of."""
SEED = {
    "rental": """
        INSERT INTO boat_sailor (sailor_id, boat_id) SELECT sailor_id, boat_id FROM sailor, boat;
        INSERT INTO payment (payment_id, rental_id, amount, paid)
        SELECT row_number() OVER (), rental_id, 2.50, '2026-01-02 03:04:05.678901+00' FROM rental;
        REFRESH MATERIALIZED VIEW sales_by_store;
        UPDATE staff SET password = 's3cr3t'
    """,
}
VIEWS = {"rental": ("boat_lists", "sales_by_stores"), "rails": ("open_tickets",)}
"""What a person takes the comment signs away from."""
OTHERS = {
    "inet": "10.0.0.{n}", "season": "19{n}", "citext": "Text {n}", "point": "(1,{n})", "bit(3)": "101",
    "cidr": "10.{n}.0.0/16", "macaddr": "08:00:2b:01:02:{n:02x}", "share": "0.{n}",
    "tstzrange": "[2026-01-01 00:00+00,2027-01-01 00:{n}+00)",
}  # fmt: skip
"""Values of types that Stowage does not know."""
MOVED_BY_TRIGGERS = ("boat", "sailor", "invoices", "boxes")
"""Tables of the products whose triggers say when a row was changed."""


@dataclass
class Shop:
    """A tenant whose tables are a product's."""

    name: str
    database: psycopg.Connection
    server: Server
    scratch: Database
    literals: Literals
    made: dict[str, list[Json]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(11))
    owner: str = ""

    @property
    def edit(self) -> Edit:
        return Edit(TENANT, "ann@shop", "admin", NOW)

    def writable(self) -> list[Entity]:
        """The entities of which records are made, each behind those that it refers to."""
        return [ENTITIES[name] for name in self.made]

    def body(self, entity: Entity) -> Json:
        """What makes a new record: every field that may be given."""
        n = next(self.numbers)
        given: dict[str, Json] = {field.name: self._value(entity, field, n) for field in entity.own}
        for reference in entity.references:
            if reference.agrees:
                parent = self.made[reference.entity][n % len(self.made[reference.entity])]
                given |= {name: parent[name] for name in reference.agrees}
        body = {name: value for name, value in given.items() if value is not None}
        if entity.key.made_by == "client":
            made = {"uuid": f"0198c5a4-7d3e-7000-8000-{n:012x}", "text": f"X{n}"}
            body["id"] = made.get(entity.key.type, str(n))
        return body

    def _value(self, entity: Entity, field: Field, n: int) -> Json:
        reference = next((each for each in entity.references if each.field == field.name), None)
        if reference:
            others = self.made.get(reference.entity) or [{"id": None}]
            return others[n % len(others)]["id"]
        if field.is_read_only or field.default is DATABASE:
            return None
        if field.is_array:
            return []
        size = re.search(r"\((\d+)\)", field.sql_type or "")
        moment = f"2026-12-04T05:06:07.{n:06}"
        values: dict[str, Json] = {
            "text": f"{field.name} {n}"[-int(size[1] if size else 99) :],
            "other": OTHERS.get(field.sql_type or "", "{n}").format(n=n),
            "integer": n,
            "numeric": f"{n % 9}.5",
            "number": n / 4,
            "boolean": n % 2 == 0,
            "timestamp": f"{moment}Z",
            "local_timestamp": moment[: 20 + int(size[1])].rstrip(".") if size else moment,
            "date": f"2026-03-{n % 28 + 1:02}",
            "time": f"04:05:06.{n}",
            "interval": f"{n} days",
            "uuid": f"0198c5a4-7d3e-7000-8000-{n:012x}",
            "json": {"n": n},
        }
        return field.values[0] if field.values else values.get(field.type)

    def rows(self, entity: Entity) -> list[str]:
        """The rows of a table as Postgres writes them, whole."""
        table = sql.Identifier(TENANT.schema, entity.table)
        return [row for (row,) in self.database.execute(sql.SQL("SELECT t::text FROM {} AS t").format(table))]

    def listed(self, entity: Entity, **query: str) -> list[Json]:
        return json.loads(list_records(TENANT, entity, {"limit": "100", **query}))["data"]

    def new(self, entity: Entity) -> Json:
        """A new record."""
        return json.loads(create_record(self.edit, entity, json.dumps(self.body(entity)).encode()).body)["data"]

    def import_file(self, entity: Entity, type: Any, file: bytes, on_conflict: Any) -> tuple[str, list[Any]]:
        """What becomes of each row of a file, by letter, and the failures."""
        reader = open_rows(Layout(type, None, None, False), io.BufferedReader(io.BytesIO(file)))
        naming, import_id = Naming(entity, {}), uuid4().hex
        columns = None if reader.header is None else naming.match(reader.header)
        preparer = Preparer(entity, import_id, type, columns, naming)
        batch = Batch(0, list(reader), 0, 0, 0, True, None)
        connection = connect("main", APP)
        assert begin_import(connection, import_id, 1, self.edit, entity, keep_days=9)
        session = ImportSession(connection, self.edit, entity, import_id, 1)
        defaults = row_types(entity.name, type).defaults
        session.prepare({entity.column(name): each for name, each in defaults.items() if each is not None})
        outcome = write_batch(session, entity, on_conflict, preparer.prepare(batch))
        connection.close()
        return outcome.outcomes, outcome.failures

    def delete(self, entity: Entity, record_id: str) -> None:
        """Delete a record as the product does."""
        column = entity.trash.column
        value = sql.SQL("true") if entity.trash.is_flag else sql.SQL("'2026-11-01 02:03:04'")
        table, key = sql.Identifier(TENANT.schema, entity.table), sql.Identifier(entity.column("id"))
        deleted = sql.SQL("UPDATE {} SET {} = {} WHERE {}::text = {}")
        self.database.execute(deleted.format(table, sql.Identifier(column), value, key, sql.Literal(record_id)))

    def give_to_owner(self) -> None:
        """Give the tables to a role of the product's own."""
        self.owner = f"Owner {uuid4().hex[:8]}"
        owner, schema = sql.Identifier(self.owner), sql.Identifier(TENANT.schema)
        self.database.execute(sql.SQL("CREATE ROLE {}; GRANT ALL ON SCHEMA {} TO {}").format(owner, schema, owner))
        for entity in ENTITIES.values():
            table = sql.Identifier(TENANT.schema, entity.table)
            self.database.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(table, owner))

    def let_in(self) -> None:
        """Make Stowage's roles members of that role, which is what docs/operations.md says of row-level security."""
        options = " WITH INHERIT TRUE, SET FALSE" if self.database.info.server_version >= 160000 else ""
        statement = sql.SQL("GRANT {} TO stowage_app, stowage_dump, stowage_purge" + options)
        self.database.execute(statement.format(sql.Identifier(self.owner)))
        if self.name == "workspace":
            self.database.execute("GRANT USAGE ON SCHEMA auth TO stowage_app")

    def export(self, data_type: str, format: str, **filters: Json) -> bytes:
        given = None if data_type == "gdpr" else parse_filters(data_type, filters)
        source = open_export(
            connect("main", APP), TENANT.schema, TENANT.id, data_type=data_type, format=format, filters=given
        )
        try:
            return b"".join(source.chunks())
        finally:
            source.close()


def _declared(text: str, product: str) -> Literals:
    """What is inspected, with the views."""
    for view in VIEWS.get(product, ()):
        text = re.sub(
            rf"^# \[{view}\]\n(# .*\n)+", lambda block: re.sub(r"^# ", "", block[0], flags=re.M), text, flags=re.M
        )
    literals = read_declarations({"inspected.toml": text})
    entities = Entities(literals)
    assert not entities.unable
    assert {*VIEWS.get(product, ())} <= {*entities}
    return literals


@contextmanager
def open_shop(server: Server, product: str) -> Iterator[Shop]:
    """A tenant of that product on that server, three records in each table; this process works as functions would."""
    made = server.make_database()
    made.make_tenant("tenant_other")
    database = made.connect()
    schema = sql.Identifier(TENANT.schema)
    database.execute(sql.SQL("CREATE SCHEMA {0}; SET search_path = {0}").format(schema))
    database.execute((ROOT / "tests/stack/products" / f"{product}.sql").read_bytes())
    database.execute("SELECT stowage.grant_tenant(%s)", (TENANT.schema,))
    literals = _declared(write_declarations(TENANT.schema, read_tables(database, TENANT.schema) or []), product)
    values = made.environment
    url = f"postgresql://127.0.0.1:{values['PGPORT']}/{values['PGDATABASE']}"
    row_types.cache_clear()
    with mock.patch.dict(os.environ, {"STOWAGE_DATABASE_URL": url}):
        settings.cache_clear()
        with mock.patch.multiple(ENTITIES, _literals=Entities(literals)._literals, _made={}, unable={}):
            opened = Shop(product, database, server, made, literals)
            if product in SECURED:
                opened.give_to_owner()
                opened.let_in()
            fill(opened)
            database.execute(SEED.get(product, "").encode())
            yield opened
            while _kept:
                _kept.popitem()[1].close()
    row_types.cache_clear()


def fill(shop: Shop) -> None:
    """Make three records of every entity of which Stowage can make one, in the order of their references."""
    unfilled = {
        (table, column)
        for table, column in shop.database.execute(
            "SELECT relname::text, attname::text FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid "
            "WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND attnum > 0 AND attnotnull AND NOT atthasdef "
            "AND attidentity = ''",
            (TENANT.schema,),
        )
    }

    def can_be_made(entity: Entity) -> bool:
        known = {field.column for field in entity.fields}
        return not entity.why_only_read and not [c for t, c in unfilled if t == entity.table and c not in known]

    waiting = [entity for entity in ENTITIES.values() if can_be_made(entity)]
    while waiting:
        ready = [
            entity
            for entity in waiting
            if all(
                reference.entity in shop.made or reference.entity == entity.name or entity.is_optional(reference.field)
                for reference in entity.references
            )
        ]
        if not ready:
            break
        for entity in ready:
            shop.made[entity.name] = []
            for _ in range(3):
                shop.made[entity.name].append(shop.new(entity))
        waiting = [entity for entity in waiting if entity not in ready]
    assert len(shop.made) >= 8


def raw_ids(shop: Shop, entity: Entity, *, everything: bool = False) -> list[str]:
    """The ids of the records outside the trash, or of `everything`, as files have them."""
    key = [sql.Identifier(column) for column in entity.key.names]
    one = sql.SQL("jsonb_build_array({})::text" if entity.key.is_composite else "{}")
    chosen = one.format(sql.SQL(", ").join(sql.SQL("{}::text").format(column) for column in key))
    outside = sql.SQL("true") if everything or not entity.soft_delete else outside_trash(entity, "t")
    query = sql.SQL("SELECT {} FROM {} AS t WHERE {}").format(
        chosen, sql.Identifier(TENANT.schema, entity.table), outside
    )
    return sorted(record_id for (record_id,) in shop.database.execute(query))
