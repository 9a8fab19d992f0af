"""A product's own column says what is in the trash: a moment of any type, or a flag."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES, Entities
from stowage.entities.language import read_declarations
from stowage.postgres.edits.deletes import delete_records
from stowage.postgres.edits.locks import Outcome
from stowage.postgres.reads.selection import select, select_everything
from stowage.postgres.session.connection import APP, PURGE
from stowage.postgres.session.edit import Edit
from stowage.postgres.tables.trashed import in_trash_unindexed, outside_trash, outside_trash_unindexed
from stowage.postgres.trash import spans
from stowage.postgres.trash.finds import find_clashes, find_in_trash, read_trashed
from stowage.postgres.trash.lists import TrashRow, list_orphans, list_trash, sweep_entries
from stowage.postgres.trash.purge import Purged, purge_records
from stowage.postgres.trash.purge_due import adopt_deleted, begin_purge, due_for_purge, next_children
from stowage.postgres.trash.restores import lock_for_restoring, restore_records
from stowage.postgres.trash.spans import count_trash, recount_trash
from stowage.tenants import Tenant
from tests.stack.servers import NEWEST, OLDER, Servers

TENANT = Tenant("acme", "acme", "Acme")
NOW = datetime(2026, 11, 28, 10, 20, 30, 123456, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Kind:
    """A way to say that a row is deleted: its declaration, its column, and what SQL of the product's own writes."""

    declared: str
    column: str
    live: Any
    deleted: Any
    delete: str
    restore: str

    @property
    def name(self) -> str:
        return self.column.split()[0].strip('"')

    @property
    def is_flag(self) -> bool:
        return "flag" in self.declared

    @property
    def outside(self) -> str:
        """As the product's partial indexes write it."""
        name = self.column.split()[0]
        if "nullable" in self.declared:
            return f"{name} IS NOT TRUE"
        return f"NOT {name}" if self.is_flag else f"{name} IS NULL"


def moment(type: str, deleted: Any, name: str = "discarded_at") -> Kind:
    at = "'2026-11-01 01:02:03'"
    return Kind(f'trash = "{name.strip(chr(34))}"', f"{name} {type}", None, deleted, f"{name} = {at}", f"{name} = NULL")


def flag(column: str, live: Any, nullable: str = "") -> Kind:
    return Kind(
        f'trash = {{ flag = "is_deleted"{nullable} }}',
        column,
        live,
        True,
        "is_deleted = true, updated_at = '2026-11-01 01:02:03'",
        "is_deleted = false, updated_at = '2026-10-31 01:02:03'",
    )


KINDS = {
    "timestamptz": moment("timestamptz", "2026-11-28T10:20:30.123456+00:00"),
    "timestamp": moment("timestamp", "2026-11-28T10:20:30.123456"),
    "seconds": moment("timestamp(0)", "2026-11-28T10:20:30", '"deletedAt"'),
    "date": moment("date", "2026-11-28"),
    "flag": flag("is_deleted boolean NOT NULL DEFAULT false", False),
    "nullable flag": flag("is_deleted boolean", None, ", nullable = true"),
}
DECLARED = """
[folders]
key = "id bigint database"
label = "title"
unique = [["title"]]
created = "created_at"
updated = "updated_at"
{trash}
[folders.fields]
title = "text not null"

[papers]
key = "id uuid database"
label = "title"
unique = [["folderId", "title"]]
created = "created_at"
updated = "updated_at"
{trash}
[papers.fields]
title = "text not null"
folderId = {{ type = "bigint not null", references = "folders", onDelete = "cascade" }}
coverId = {{ type = "bigint", references = "folders", onDelete = "keep" }}

[threads]
key = "id bigint client"
updated = "updated_at"
{trash}
[threads.fields]
parentId = {{ type = "bigint", references = "threads", onDelete = "cascade" }}
"""
TABLES = """
CREATE TABLE folders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL, {column},
    created_at timestamptz NOT NULL DEFAULT '2026-01-01', updated_at timestamp NOT NULL DEFAULT '2026-01-01'
);
CREATE UNIQUE INDEX ON folders (title) WHERE {outside};
CREATE TABLE papers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text NOT NULL, folder_id bigint NOT NULL REFERENCES folders,
    cover_id bigint REFERENCES folders,
    {column}, created_at timestamptz NOT NULL DEFAULT '2026-01-01', updated_at timestamp NOT NULL DEFAULT '2026-01-01'
);
CREATE UNIQUE INDEX ON papers (folder_id, title) WHERE {outside};
CREATE UNIQUE INDEX papers_lower ON papers (folder_id, lower(title)) WHERE {outside};
CREATE TABLE threads (
    id bigint PRIMARY KEY, parent_id bigint REFERENCES threads, {column},
    updated_at timestamp NOT NULL DEFAULT '2026-01-01'
);
INSERT INTO threads (id, parent_id) VALUES (1, NULL), (2, 1), (3, 2), (4, 4), (5, 1);
INSERT INTO folders (title) VALUES ('one'), ('two'), ('three');
INSERT INTO papers (title, folder_id) SELECT 'p' || n, folder FROM generate_series(1, 2) n, generate_series(1, 3) folder
"""


class Product:
    """A product's tenant: its tables, by its own SQL and by Stowage's statements."""

    def __init__(self, kind: Kind, database: psycopg.Connection) -> None:
        self.kind, self.database = kind, database
        self.folders, self.papers, self.threads = ENTITIES["folders"], ENTITIES["papers"], ENTITIES["threads"]

    def run(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        """Run SQL of the product's own."""
        with self.database.transaction():
            self.database.execute("SET LOCAL search_path = tenant_acme")
            cursor = self.database.execute(statement.encode(), given or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def acting(self, role: str = APP) -> Iterator[psycopg.Connection]:
        """A transaction of one of our roles."""
        with self.database.transaction():
            self.database.execute(f"SET LOCAL ROLE {role}".encode())
            yield self.database

    def edit(self, at: datetime = NOW) -> Edit:
        return Edit(TENANT, "ada", "admin", at)

    def delete(self, declared: Entity, *ids: str, at: datetime = NOW) -> Outcome:
        """Delete records through Stowage."""
        with self.acting() as connection:
            return delete_records(connection, self.edit(at), declared, ids, at + 30 * DAY, most_children=100)

    def restore(self, declared: Entity, *ids: str, rename: bool = False) -> dict[str, int]:
        with self.acting() as connection:
            lock_for_restoring(connection, TENANT.schema, declared, ids)
            return restore_records(connection, self.edit(NOW + DAY), declared, ids, rename=rename)

    def purge(self, declared: Entity, *ids: str, only_due: bool = False, at: datetime = NOW) -> Purged:
        with self.acting(PURGE) as connection:
            return purge_records(connection, self.edit(at), declared, ids, only_due=only_due)

    def due(self, declared: Entity, at: datetime) -> list[str]:
        with self.acting(PURGE) as connection:
            return due_for_purge(connection, TENANT, declared, at).ids

    def trash(self, *entities: Entity) -> list[TrashRow]:
        with self.acting() as connection:
            listed = list_trash(connection, TENANT, entities or (self.folders, self.papers), 50, 0)
            recount_trash(connection, TENANT, entities or (self.folders, self.papers))
            assert count_trash(connection, TENANT, entities or (self.folders, self.papers)) == len(listed)
            return listed

    def state(self, declared: Entity, id: str) -> str:
        """Where a record is, as routes find it."""
        with self.acting() as connection:
            return find_in_trash(connection, TENANT, [declared], id)[0].state

    def rows(self, table: str) -> dict[str, Any]:
        """Every row of a table, whole, by id."""
        return {str(row["id"]): row for (row,) in self.run(f"SELECT to_jsonb(t) FROM {table} t")}

    def papers_of(self, folder: str) -> list[str]:
        return [row[0] for row in self.run(f"SELECT id::text FROM papers WHERE folder_id = {folder} ORDER BY title")]

    def exported(self, data_type: str) -> set[str]:
        """The ids in an export of an entity."""
        statement = select(TENANT.schema, TENANT.id, data_type).select([sql.SQL("id::text")])
        return {row[0] for row in self.database.execute(statement)}

    def counted(self, declared: Entity) -> int:
        """How many the trash shows, as it is kept."""
        rows = self.run("SELECT listed FROM stowage.trash_counts WHERE entity = %(name)s", name=declared.name)
        return rows[0][0] if rows else 0


@pytest.fixture(scope="module")
def databases(servers: Servers) -> Iterator[dict[int, psycopg.Connection]]:
    """A database on an older server and on the newest."""
    with ExitStack() as stack:
        found = {version: servers(version).make_database() for version in (OLDER, NEWEST)}
        for database in found.values():
            database.make_tenant("tenant_acme")
        yield {version: stack.enter_context(database.connect()) for version, database in found.items()}


@pytest.fixture(params=[(NEWEST, kind) for kind in KINDS] + [(OLDER, "timestamp"), (OLDER, "flag")], ids=str)
def product(
    databases: dict[int, psycopg.Connection], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Product:
    version, name = request.param
    database, kind = databases[version], KINDS[name]
    literals = read_declarations({"own.toml": DECLARED.format(trash=kind.declared)})
    for name, entity in Entities(literals).items():
        monkeypatch.setitem(ENTITIES, name, entity)
    made = Product(kind, database)
    made.run(
        "DROP TABLE IF EXISTS papers, folders, threads; "
        "DELETE FROM stowage.trash_entries; DELETE FROM stowage.trash_counts"
    )
    made.run(TABLES.format(column=kind.column, outside=kind.outside))
    made.run("SELECT stowage.grant_tenant('tenant_acme')")
    return made


def test_a_deletion_sets_the_products_own_column_and_lists_what_only_stowage_knows(product: Product) -> None:
    papers = product.papers_of("1")
    assert product.delete(product.folders, "1", "99") == Outcome([None, "not_found"], {"papers": 2})
    assert product.delete(product.folders, "1").codes == ["already_deleted"]
    product.delete(product.papers, product.papers_of("2")[0], at=NOW + DAY)
    assert product.rows("folders")["1"][product.kind.name] == product.kind.deleted
    assert {product.rows("papers")[each][product.kind.name] for each in papers} == {product.kind.deleted}

    paper, folder = product.trash()
    assert (folder.id, folder.name, folder.deleted_by, folder.purge_at) == ("1", "one", "ada", NOW + 30 * DAY)
    assert folder.deleted_at is not None
    assert abs(folder.deleted_at - NOW) < DAY
    assert (folder.cascaded, paper.id) == ({"papers": 2}, product.papers_of("2")[0])
    assert product.exported("folders") == {"2", "3"}
    assert product.exported("papers") == {*product.papers_of("2")[1:], *product.papers_of("3")}
    assert [product.state(product.folders, each) for each in ("1", "2", "9")] == ["trash", "outside", "nowhere"]


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_of_an_entity_that_refers_to_itself_each_record_goes_once(product: Product) -> None:
    threads = product.threads
    assert product.delete(threads, "2", "1", "4") == Outcome([None, None, None], {"threads": 2})
    assert {item.id: item.cascaded for item in product.trash(threads)} == {
        "1": {"threads": 1}, "2": {"threads": 1}, "4": {"threads": 0},
    }  # fmt: skip
    assert product.restore(threads, "1", "2", "4") == {"threads": 2}
    assert product.trash(threads) == []
    product.delete(threads, "1", "2", "4")
    product.purge(threads, "1", "2", "4")
    assert product.rows("threads") == {}


def test_a_restore_clears_the_column_as_the_product_would(product: Product) -> None:
    before = product.rows("folders"), product.rows("papers")
    apart = product.papers_of("1")[0]
    product.delete(product.papers, apart)
    product.delete(product.folders, "1", at=NOW + DAY)
    assert product.restore(product.folders, "1") == {"papers": 1}
    assert [row.id for row in product.trash()] == [apart]
    product.restore(product.papers, apart)
    live = product.kind.live if product.kind.live is not None or not product.kind.is_flag else False
    for table, rows in zip(("folders", "papers"), before, strict=True):
        touched = {"1"} if table == "folders" else set(product.papers_of("1"))
        expected = {each: row | ({product.kind.name: live} if each in touched else {}) for each, row in rows.items()}
        assert product.rows(table) == expected
    assert product.run("SELECT count(*) FROM stowage.trash_entries") == [(0,)]


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_what_the_product_deletes_is_in_the_trash_and_never_goes_by_itself(product: Product) -> None:
    product.run(f"UPDATE folders SET {product.kind.delete} WHERE id = 1")
    [row] = product.trash()
    assert (row.id, row.deleted_by, row.purge_at, row.cascaded) == ("1", None, None, {"papers": 0})
    assert row.deleted_at is None if product.kind.is_flag else row.deleted_at is not None
    assert product.exported("folders") == {"2", "3"}
    assert product.due(product.folders, NOW + 999 * DAY) == []
    assert product.purge(product.folders, "1", only_due=True, at=NOW + 999 * DAY).count == 0
    assert product.restore(product.folders, "1") == {}
    assert product.trash() == []
    product.run(f"UPDATE papers SET {product.kind.delete} WHERE folder_id = 1")
    product.run(f"UPDATE folders SET {product.kind.delete} WHERE id = 1")
    assert product.purge(product.folders, "1") == Purged(1, {"papers": 2})
    assert "1" not in product.rows("folders")


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_what_the_product_deletes_goes_by_the_owners_rule_where_there_is_one(product: Product) -> None:
    folders = replace(product.folders, trash=replace(product.folders.trash, purge_days=30))
    product.delete(product.folders, "3")
    product.run(f"UPDATE folders SET {product.kind.delete} WHERE id IN (1, 2)")
    [[now]] = product.run("SELECT now()")
    with product.acting(PURGE) as connection:
        assert [adopt_deleted(connection, TENANT, folders, now) for _ in range(2)] == [2, 0]
    rows = {row.id: row for row in product.trash(product.folders)}
    assert [rows[each].deleted_by for each in "123"] == [None, None, "ada"]
    since = now if product.kind.is_flag else datetime(2026, 11, 1, tzinfo=UTC)
    goes = [purge_at for each in "12" if (purge_at := rows[each].purge_at)]
    assert [abs(purge_at - since - 30 * DAY) < 2 * DAY for purge_at in goes] == [True, True]
    assert "1" not in product.due(product.folders, since + 28 * DAY)
    product.run(f"UPDATE folders SET {product.kind.restore} WHERE id = 2")
    product.run(f"UPDATE papers SET {product.kind.delete} WHERE folder_id = 1")
    assert {"1", "2"} & {*product.due(product.folders, now + 32 * DAY)} == {"1"}
    product.purge(product.folders, "1", "2", only_due=True, at=now + 32 * DAY)
    assert {*product.rows("folders")} == {"2", "3"}


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_what_the_product_restores_and_deletes_anew_is_no_longer_stowages(product: Product) -> None:
    product.delete(product.folders, "1")
    papers = product.papers_of("1")
    product.run(f"UPDATE folders SET {product.kind.restore} WHERE id = 1")
    assert product.state(product.folders, "1") == "outside"
    assert product.exported("folders") == {"1", "2", "3"}
    with product.acting() as connection:
        assert list_orphans(connection, TENANT) == 2
    assert {row.id for row in product.trash()} == set(papers)

    product.run(f"UPDATE folders SET {product.kind.delete} WHERE id = 1")
    [row] = product.trash(product.folders)
    assert (row.deleted_by, row.purge_at) == (None, None)
    assert product.due(product.folders, NOW + 999 * DAY) == []
    product.run("DELETE FROM papers WHERE folder_id = 2")
    with product.acting() as connection:
        assert sweep_entries(connection, TENANT) == 1
    assert {row.deleted_by for row in product.trash(product.papers)} == {"ada"}
    product.restore(product.folders, "1")
    product.delete(product.folders, "1", at=NOW + DAY)
    assert product.trash(product.folders)[0].deleted_by == "ada"


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_what_came_along_by_one_of_two_references_stays_with_its_parent(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = tuple(replace(each, on_delete="cascade") for each in product.papers.references)
    monkeypatch.setitem(ENTITIES, "papers", replace(product.papers, references=references))
    by_cover, *_ = product.papers_of("3")
    product.run("UPDATE papers SET cover_id = 2 WHERE folder_id = 1")
    product.run("UPDATE papers SET cover_id = 1 WHERE id = %(id)s::uuid", id=by_cover)
    product.delete(product.folders, "1")
    with product.acting() as connection:
        assert list_orphans(connection, TENANT) == 0
    assert {row.id for row in product.trash()} == {"1"}
    product.run(f"UPDATE folders SET {product.kind.restore} WHERE id = 1")
    with product.acting() as connection:
        assert list_orphans(connection, TENANT) == 3


def test_what_is_past_its_time_goes_with_what_came_along(product: Product) -> None:
    product.delete(product.folders, "1", "2")
    product.delete(product.papers, product.papers_of("3")[0])
    assert product.due(product.folders, NOW + 29 * DAY) == []
    assert product.due(product.folders, NOW + 31 * DAY) == ["1", "2"]
    assert product.purge(product.folders, "1", "3", only_due=True, at=NOW + 29 * DAY).count == 0
    assert product.purge(product.folders, "1", "2", "3", only_due=True, at=NOW + 31 * DAY) == Purged(2, {"papers": 4})
    assert {*product.rows("folders")} == {"3"}
    assert product.run("SELECT count(*) FROM stowage.trash_entries") == [(1,)]
    assert [product.state(product.folders, each) for each in "13"] == ["purged", "outside"]


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_what_named_a_record_that_goes_for_good_stays_in_the_trash_as_it_was(product: Product) -> None:
    [paper, other] = product.papers_of("2")
    product.run("UPDATE papers SET cover_id = 1 WHERE folder_id = 2")
    product.delete(product.papers, paper)
    product.delete(product.folders, "1")
    product.purge(product.folders, "1")
    assert product.rows("papers")[paper]["cover_id"] is product.rows("papers")[other]["cover_id"] is None
    assert [(row.id, row.deleted_by) for row in product.trash()] == [(paper, "ada")]
    product.restore(product.papers, paper)


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_a_far_page_is_right_without_reading_what_lies_before_it(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "READ_UP_TO", 0)
    monkeypatch.setattr(spans, "SPAN", 1)
    product.run("INSERT INTO papers (title, folder_id) SELECT 'q' || n, 1 FROM generate_series(1, 5) n")
    entities = product.folders, product.papers
    papers = product.papers_of("1")
    for n, paper in enumerate(papers[:6]):
        product.delete(product.papers, paper, at=NOW - n // 2 * 7 * DAY)
    product.delete(product.folders, "1", "3", at=NOW - 3 * DAY)

    def check_pages(*, skipped: int) -> None:
        with product.acting() as connection:
            for shown in (entities, entities[1:]):
                monkeypatch.setattr(spans, "READ_UP_TO", 99)
                whole = list_trash(connection, TENANT, shown, 50, 0)
                monkeypatch.setattr(spans, "READ_UP_TO", 0)
                pages = [list_trash(connection, TENANT, shown, 2, n) for n in range(0, len(whole) + 2, 2)]
                assert [row for page in pages for row in page] == whole
            assert spans.skip(connection, TENANT, entities, 99)[1] == skipped

    check_pages(skipped=0)
    with product.acting() as connection:
        recount_trash(connection, TENANT, entities)
    check_pages(skipped=8)
    product.restore(product.papers, papers[3])
    check_pages(skipped=7)
    product.purge(product.papers, papers[4])
    check_pages(skipped=6)
    with product.acting(PURGE) as connection:
        assert begin_purge(connection, TENANT, product.folders, "3", NOW, only_due=False)
    check_pages(skipped=5)
    # Into the newest span, whose start the papers made, and out of it again.
    product.delete(product.folders, "2", at=NOW + DAY)
    product.restore(product.folders, "2")
    check_pages(skipped=5)
    product.delete(product.papers, product.papers_of("2")[0], at=datetime.now(UTC))
    product.run(f"UPDATE folders SET {product.kind.delete} WHERE id = 2")
    check_pages(skipped=6)
    with product.acting() as connection:
        recount_trash(connection, TENANT, entities[:1])
    check_pages(skipped=0)


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_entries_that_an_earlier_version_wrote_are_listed_at_once_and_sorted_after_the_next_count(
    product: Product,
) -> None:
    papers = product.papers_of("1")
    for n, paper in enumerate(papers):
        product.delete(product.papers, paper, at=NOW - n * DAY)
    product.delete(product.folders, "1", at=NOW + DAY)
    whole = [row.id for row in product.trash(product.papers)]
    product.run("UPDATE stowage.trash_entries SET of_flag = false")
    assert sorted(row.id for row in product.trash(product.papers)) == sorted(whole) == sorted(papers)
    assert [row.id for row in product.trash(product.papers)] == whole


@pytest.mark.long(but=["(18, 'timestamptz')-False", "(18, 'flag')-True", "(15, 'timestamp')-True"])
@pytest.mark.parametrize("by_product", [False, True])
def test_a_purge_that_has_begun_is_neither_listed_nor_restored(product: Product, by_product: bool) -> None:
    if by_product:
        product.run(f"UPDATE papers SET {product.kind.delete} WHERE folder_id = 1")
        product.run(f"UPDATE folders SET {product.kind.delete} WHERE id = 1")
    else:
        product.delete(product.folders, "1")
    with product.acting() as connection:
        recount_trash(connection, TENANT, [product.folders])
    with product.acting(PURGE) as connection:
        assert begin_purge(connection, TENANT, product.folders, "1", NOW + DAY, only_due=False)
    assert product.state(product.folders, "1") == "purging"
    assert (product.trash(product.folders), product.counted(product.folders)) == ([], 0)
    assert product.due(product.folders, NOW + DAY) == ["1"]
    with product.acting(PURGE) as connection:
        [child] = product.folders.children("cascade")
        assert sorted(next_children(connection, TENANT, product.folders, child, "1").ids) == sorted(
            product.papers_of("1")
        )
        assert read_trashed(connection, TENANT, product.folders, "1") is None


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_many_records_are_expected_by_their_ids_though_all_were_in_the_trash_when_last_counted(
    product: Product,
) -> None:
    """Else the planner joins ten thousand records to ten thousand changes row by row."""
    product.run("INSERT INTO folders (title) SELECT 'f' || n FROM generate_series(1, 400) n")
    product.run(f"UPDATE folders SET {product.kind.delete}")
    product.run("ANALYZE folders")

    def expected(condition: sql.Composable) -> float:
        explained = sql.SQL(
            "EXPLAIN (FORMAT JSON) SELECT FROM tenant_acme.folders AS record "
            "WHERE id = ANY(ARRAY(SELECT generate_series(1, 400))) AND {}"
        ).format(condition)
        [(plan,)] = product.database.execute(explained).fetchall()
        return float(plan[0]["Plan"]["Plan Rows"])

    assert expected(outside_trash(product.folders, "record")) == 1
    assert expected(outside_trash_unindexed(product.folders, "record")) > 1
    assert expected(outside_trash_unindexed(product.folders, "record")) == expected(
        in_trash_unindexed(product.folders, "record")
    )
    product.run(f"UPDATE folders SET {product.kind.restore} WHERE id < 4")
    [(same,)] = product.database.execute(
        sql.SQL("SELECT array_agg(id ORDER BY id) = '{{1,2,3}}' FROM tenant_acme.folders AS record WHERE {}").format(
            outside_trash_unindexed(product.folders, "record")
        )
    ).fetchall()
    assert same


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_partial_unique_indexes_of_the_product_are_kept(product: Product) -> None:
    paper = product.papers_of("1")[0]
    product.delete(product.papers, paper)
    product.run("INSERT INTO papers (title, folder_id) VALUES ('P1', 1)")
    with product.acting() as connection:
        assert [clash.rule for clash in find_clashes(connection, TENANT, product.papers, paper)] == ["papers_lower"]
    product.restore(product.papers, paper, rename=True)
    assert product.rows("papers")[paper]["title"] == "p1 (restored)"
    product.delete(product.folders, "2")
    product.run("INSERT INTO folders (title) VALUES ('two')")
    with product.acting() as connection:
        [clash] = find_clashes(connection, TENANT, product.folders, "2")
    assert (clash.fields, clash.rule) == (("title",), None)
    with pytest.raises(psycopg.errors.UniqueViolation):
        product.restore(product.folders, "2")


@pytest.mark.long(but=["(18, 'timestamptz')", "(18, 'flag')", "(15, 'timestamp')"])
def test_everything_that_a_tenant_holds_says_what_is_in_the_trash(product: Product) -> None:
    product.delete(product.folders, "1")
    product.run(f"UPDATE folders SET {product.kind.delete} WHERE id = 2")
    [folders] = [each for each in select_everything(TENANT.schema, TENANT.id) if each.name == "folders"]
    with product.acting("stowage_dump") as connection:
        statement = folders.select(column.value for column in folders.columns)
        rows = {row[0]: row[-3:] for row in connection.execute(statement).fetchall()}
    assert rows[3] == (None, None, None)
    assert rows[1][1:] == ("ada", NOW + 30 * DAY)
    assert rows[2][1:] == (None, None)
    assert (rows[2][0] is None) == product.kind.is_flag
