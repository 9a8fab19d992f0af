"""Rules that only the table has: whichever edit one of them refuses, its name is told; `rename` finds a free name."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from stowage.basics.errors import StowageError
from stowage.bulk import bulk_delete, bulk_reassign, bulk_undo
from stowage.bulk.requests import DeleteRequest, ReassignRequest, UndoRequest
from stowage.entities.declared import ENTITIES
from stowage.imports.items import import_items
from stowage.records import change_record, change_records, create_record
from stowage.records.deleting import RecordIds, delete_record
from stowage.records.deleting import bulk_delete as delete_records
from stowage.trash.deleting import delete_item
from stowage.trash.items import RestoreRequest
from stowage.trash.purging import purge_tenant
from stowage.trash.restoring import restore_item
from tests.conftest import RunningStack
from tests.stack.file_import_surface import ended, fetched, imported, started
from tests.stack.office import Office, in_process, open_office

type Json = Any

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BRANDS, ACCOUNTS = ENTITIES["brands"], ENTITIES["accounts"]


@pytest.fixture(scope="module")
def owner(stack: RunningStack) -> Iterator[psycopg.Connection]:
    """A connection as the owner of the tenants' schemas, while this process calls use cases itself."""
    with psycopg.connect(stack.database_url, autocommit=True) as database, in_process(stack):
        yield database


@pytest.fixture
def office(stack: RunningStack, owner: psycopg.Connection) -> Iterator[Office]:
    made = open_office(stack, owner, is_known=False)
    yield made
    made.close()


@contextmanager
def told(*names: str, code: str = "conflict", status: int = 409) -> Iterator[None]:
    """A refusal that names a rule, and holds nothing of the server's own message."""
    with pytest.raises(StowageError) as refused:
        yield
    assert (refused.value.code, refused.value.status) == (code, status), refused.value.message
    assert all(name in refused.value.message for name in names), refused.value.message
    assert "at the same moment" not in refused.value.message
    assert "secret" not in refused.value.message


def body_of(answer: Any) -> Json:
    body = json.loads(answer.body)
    return body.get("data", body)


def brand(office: Office, label: str) -> str:
    """A new brand's id."""
    made = create_record(office.edit(NOW), BRANDS, json.dumps({"label": label}).encode())
    return str(body_of(made)["id"])


def delete(office: Office, entity: str, *ids: str) -> str:
    """Delete records; the operation."""
    return str(body_of(delete_records(office.edit(NOW), ENTITIES[entity], RecordIds(ids=list(ids))))["operationId"])


def restore(office: Office, record_id: str, on_conflict: str = "fail") -> str:
    """Restore a record; its name afterwards."""
    request = RestoreRequest(onConflict=on_conflict)  # type: ignore[arg-type]
    return str(json.loads(restore_item(office.edit(NOW), record_id, request).body)["item"]["name"])


UNIQUE_LABELS = {
    "expression": "CREATE UNIQUE INDEX own_rule ON brands (lower(label)) WHERE deleted_at IS NULL",
    "two keys": "CREATE UNIQUE INDEX own_rule ON brands (lower(label), (label IS NULL)) WHERE deleted_at IS NULL",
    "condition": "CREATE UNIQUE INDEX own_rule ON brands (lower(label)) WHERE deleted_at IS NULL AND label ~* '^sh'",
    "trimmed": "CREATE UNIQUE INDEX own_rule ON brands (lower(btrim(label))) WHERE deleted_at IS NULL",
    "exclusion": "ALTER TABLE brands ADD CONSTRAINT own_rule "
    "EXCLUDE USING btree (lower(label) WITH =) WHERE (deleted_at IS NULL)",
    "generated column": "ALTER TABLE brands ADD slug text GENERATED ALWAYS AS (lower(label)) STORED;"
    "CREATE UNIQUE INDEX own_rule ON brands (slug) WHERE deleted_at IS NULL",
    "expression over a generated column": "ALTER TABLE brands ADD slug text GENERATED ALWAYS AS (upper(label)) STORED;"
    "CREATE UNIQUE INDEX own_rule ON brands (lower(slug)) WHERE deleted_at IS NULL",
    "two generated columns": "ALTER TABLE brands ADD slug text GENERATED ALWAYS AS (lower(label)) STORED,"
    ' ADD "n %% of" integer GENERATED ALWAYS AS (length(label)) STORED;'
    'CREATE UNIQUE INDEX own_rule ON brands (slug, ("n %% of" + 1)) WHERE deleted_at IS NULL',
    "condition on a generated column": "ALTER TABLE brands ADD slug text GENERATED ALWAYS AS (lower(label)) STORED;"
    "CREATE UNIQUE INDEX own_rule ON brands (lower(label)) WHERE deleted_at IS NULL AND slug LIKE 'sh%%'",
    "percent": "CREATE UNIQUE INDEX own_rule ON brands (replace(lower(label), '%%', '')) WHERE deleted_at IS NULL",
}


@pytest.mark.long(but=["expression", "condition", "exclusion", "generated column", "percent"])
@pytest.mark.parametrize("rule", UNIQUE_LABELS)
def test_a_unique_rule_of_the_tables_own_is_named_and_another_name_found(office: Office, rule: str) -> None:
    office.run(UNIQUE_LABELS[rule])
    gone = brand(office, "Shoes")
    delete(office, "brands", gone)
    brand(office, "SHOES")
    brand(office, "shoes (RESTORED)")
    with told("own_rule", "brands"):
        restore(office, gone)
    assert gone not in office.live("brands")
    assert restore(office, gone, "rename") == "Shoes (restored 2)"
    assert office.rows("brands")[gone]["label"] == "Shoes (restored 2)"


def test_a_unique_rule_that_counts_the_trash_is_named_too(office: Office) -> None:
    office.run("CREATE UNIQUE INDEX own_rule ON brands (lower(label))")
    gone = brand(office, "Shoes")
    delete(office, "brands", gone)
    with told("own_rule", "brands"):
        brand(office, "SHOES")
    assert restore(office, gone) == "Shoes"


def test_a_unique_value_that_two_rules_keep_is_told_once(office: Office) -> None:
    """The declared rule is of records outside the trash; the table's own counts those in it too."""
    office.run("CREATE UNIQUE INDEX own_rule ON brands (label)")
    brand(office, "Shoes")
    other = brand(office, "Hats")
    for attempt in (
        lambda: brand(office, "Shoes"),
        lambda: change_record(office.edit(NOW), BRANDS, other, b'{"label": "Shoes"}', None),
    ):
        with pytest.raises(StowageError) as refused:
            attempt()
        assert refused.value.message == "Another brand has this label."
        assert [each["field"] for each in refused.value.details] == ["label"]
    delete(office, "brands", other)
    with told("own_rule", "brands"):
        brand(office, "Hats")


def test_a_purge_is_told_the_foreign_key_of_a_table_that_nobody_declared(office: Office) -> None:
    office.run("CREATE TABLE own_table (brand_id text CONSTRAINT own_rule REFERENCES brands)")
    kept, free = brand(office, "Kept"), brand(office, "Free")
    office.run("INSERT INTO own_table VALUES (%s)", kept)
    delete(office, "brands", kept, free)
    edit = replace(office.edit(NOW), role="admin")
    with told("own_rule", "own_table"):
        delete_item(edit, kept, "brands")
    assert kept in office.rows("brands")
    delete_item(edit, free, "brands")


def test_what_comes_along_gets_another_name_by_a_rule_of_its_own_table(office: Office) -> None:
    office.run("CREATE UNIQUE INDEX own_rule ON posts (lower(url)) WHERE deleted_at IS NULL")
    office.accounts("a", "b")
    office.run("INSERT INTO posts (id, account_id, url) VALUES ('p', 'a', 'U'), ('q', 'a', 'u (restored)')")
    delete(office, "accounts", "a")
    office.run("INSERT INTO posts (id, account_id, url) VALUES ('r', 'b', 'u')")
    with told("own_rule", "posts"):
        restore(office, "a")
    restore(office, "a", "rename")
    assert {name: row["url"] for name, row in office.rows("posts").items()} == {
        "p": "U (restored 2)",
        "q": "u (restored)",
        "r": "u",
    }


def test_undo_tells_of_each_record_that_a_rule_of_the_table_keeps_out(office: Office) -> None:
    office.run("CREATE UNIQUE INDEX own_rule ON brands (lower(label)) WHERE deleted_at IS NULL")
    one, two = brand(office, "Shoes"), brand(office, "Hats")
    deleted = delete(office, "brands", one, two)
    taker = brand(office, "SHOES")
    result = body_of(bulk_undo(office.edit(NOW), UndoRequest(operationId=deleted)))
    assert {each["id"]: each.get("code") for each in result["results"]} == {one: "conflict", two: None}
    changed = body_of(
        change_records(office.edit(NOW), BRANDS, json.dumps({"updates": [{"id": taker, "label": "Boots"}]}).encode())
    )
    brand(office, "sHOES")
    result = body_of(bulk_undo(office.edit(NOW), UndoRequest(operationId=changed["operationId"])))
    assert [each.get("code") for each in result["results"]] == ["conflict"]


REFUSE = """
CREATE FUNCTION refuse_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.{column} = '{value}' THEN RAISE EXCEPTION 'secret %%', new.id {using}; END IF;
    RETURN new;
END $$;
"""
TRIGGER = REFUSE + "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_it()"
AT_COMMIT = (
    REFUSE + "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON {table} DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION refuse_it()"
)
RULES: dict[str, tuple[str, str, str]] = {
    "unique": (
        "CREATE UNIQUE INDEX own_rule ON {table} (lower({column})) WHERE {column} <> 'x'",
        "own_rule",
        "conflict",
    ),
    "exclusion": (
        "ALTER TABLE {table} ADD CONSTRAINT own_rule EXCLUDE USING btree (lower({column}) WITH =)",
        "own_rule",
        "conflict",
    ),
    "deferrable": (
        "ALTER TABLE {table} ADD CONSTRAINT own_rule "
        "EXCLUDE USING btree (lower({column}) WITH =) DEFERRABLE INITIALLY DEFERRED",
        "own_rule",
        "conflict",
    ),
    "unique, with signs in its name": (
        'CREATE UNIQUE INDEX "own_rule: 100%% of %%s" ON {table} (lower({column}))',
        "own_rule: 100% of %s",
        "conflict",
    ),
    "unique, of a generated column": (
        "ALTER TABLE {table} ADD own_key varchar(99) GENERATED ALWAYS AS (lower({column})) STORED;"
        "CREATE UNIQUE INDEX own_rule ON {table} (own_key)",
        "own_rule",
        "conflict",
    ),
    "unique, of an expression over a generated column": (
        "ALTER TABLE {table} ADD own_key varchar(99) GENERATED ALWAYS AS (upper({column})) STORED;"
        "CREATE UNIQUE INDEX own_rule ON {table} (lower(own_key)) WHERE own_key <> 'X'",
        "own_rule",
        "conflict",
    ),
    "check, with signs in its name": (
        "ALTER TABLE {table} ADD CONSTRAINT \"own_rule: 100%% of %%s\" CHECK ({column} <> '{value}')",
        "own_rule: 100% of %s",
        "invalid",
    ),
    "check": ("ALTER TABLE {table} ADD CONSTRAINT own_rule CHECK ({column} <> '{value}')", "own_rule", "invalid"),
    "domain": (
        "CREATE DOMAIN own_type AS text CONSTRAINT own_rule CHECK (value <> '{value}');"
        "ALTER TABLE {table} ALTER {column} TYPE own_type",
        "own_rule",
        "invalid",
    ),
    "foreign key": (
        "CREATE TABLE allowed (name text PRIMARY KEY); INSERT INTO allowed SELECT {column} FROM {table};"
        "INSERT INTO allowed VALUES ('other'), ('free') ON CONFLICT DO NOTHING;"
        "ALTER TABLE {table} ADD CONSTRAINT own_rule FOREIGN KEY ({column}) REFERENCES allowed",
        "own_rule",
        "invalid_reference",
    ),
    "not null": (
        "ALTER TABLE {table} ADD own_rule text GENERATED ALWAYS AS (NULLIF({column}, '{value}')) STORED NOT NULL",
        "own_rule",
        "invalid",
    ),
    "trigger": (TRIGGER.replace("{using}", ""), "refuse_it", "invalid"),
    "trigger with a code": (TRIGGER.replace("{using}", "USING ERRCODE = 'ZZ123'"), "refuse_it", "invalid"),
    "trigger that names a rule": (
        TRIGGER.replace("{using}", "USING ERRCODE = 'check_violation', CONSTRAINT = 'own_rule', TABLE = '{table}'"),
        "own_rule",
        "invalid",
    ),
    "at the commit": (AT_COMMIT.replace("{using}", ""), "refuse_it", "invalid"),
}
SINGLE = {"conflict": ("conflict", 409), "invalid": ("invalid_request", 400), "invalid_reference": (None, 400)}
WHOLE = {"conflict": "conflict", "invalid": "not_allowed", "invalid_reference": "conflict"}


def make_rule(office: Office, rule: str, table: str, column: str, value: str) -> tuple[str, str]:
    """Give a table a rule that refuses the value; the name that must be told, and an item's code."""
    statement, name, code = RULES[rule]
    office.run(statement.format(table=table, column=column, value=value))
    return name, code


@pytest.mark.long(
    but=[
        "unique",
        "deferrable",
        "check",
        "domain",
        "foreign key",
        "trigger with a code",
        "at the commit",
        "unique, with signs in its name",
    ]
)
@pytest.mark.parametrize("rule", RULES)
def test_records_are_told_the_rule_whichever_way_they_come(office: Office, rule: str) -> None:
    holder, other = brand(office, "Taken"), brand(office, "other")
    name, code = make_rule(office, rule, "brands", "label", "taken")
    single = SINGLE[code]
    with told(name, code=single[0] or code, status=single[1]):
        create_record(office.edit(NOW), BRANDS, b'{"label": "taken"}')
    with told(name, code=single[0] or code, status=single[1]):
        change_record(office.edit(NOW), BRANDS, other, b'{"label": "taken"}', None)

    updates = json.dumps({"updates": [{"id": holder, "label": "free"}, {"id": other, "label": "taken"}]})
    if code != "conflict":
        (failure,) = body_of(change_records(office.edit(NOW), BRANDS, updates.encode()))["failures"]
        assert (failure["index"], failure["code"]) == (1, code)
        assert name in failure["error"], failure
        assert "secret" not in failure["error"]
    items = json.dumps({"items": [{"label": "taken"}], "options": {"skipInvalid": True, "returnFailures": True}})
    office.run("UPDATE brands SET label = 'Taken' WHERE id = %s", holder)
    (failure,) = body_of(import_items(office.edit(NOW), BRANDS, items.encode()))["failures"]
    assert failure["code"] == code
    assert name in failure["error"], failure
    assert office.is_gapless()


@pytest.mark.long(but=["unique", "trigger", "at the commit"])
@pytest.mark.parametrize("rule", ["unique", "deferrable", "check", "trigger", "at the commit"])
def test_the_failed_rows_of_a_file_are_told_the_rule(office: Office, rule: str) -> None:
    brand(office, "Taken")
    name, code = make_rule(office, rule, "brands", "label", "taken")
    result = imported(office.caller(), "brands", "csv", b"label\ntaken\nfine\n", office.id)
    assert (result["created"], result["failed"]) == (1, 1)
    failed = fetched(result, "failed").decode()
    assert name in failed, failed
    assert code in failed
    assert "secret" not in failed


@pytest.mark.parametrize("rule", ["unique", "deferrable", "unique, of a generated column"])
def test_of_two_alike_in_one_request_one_is_told_the_rule(office: Office, rule: str) -> None:
    make_rule(office, rule, "brands", "label", "")
    items = [{"label": "Twice"}, {"label": "TWICE"}, {"label": "once"}]
    body = {"items": items, "options": {"skipInvalid": True, "returnFailures": True}}
    done = body_of(import_items(office.edit(NOW), BRANDS, json.dumps(body).encode()))
    (failure,) = done["failures"]
    assert (done["created"], failure["index"] in (0, 1), failure["code"]) == (2, True, "conflict")
    assert "own_rule" in failure["error"]


type Edited = Callable[[Office, str], None]
"""An edit of the account of that id."""


def restoring(office: Office, account: str) -> None:
    restore(office, account)


def deleting(office: Office, account: str) -> None:
    bulk_delete(office.edit(NOW), DeleteRequest(ids=[account], dataType="accounts"))


def deleting_one(office: Office, account: str) -> None:
    delete_record(office.edit(NOW), ACCOUNTS, account, None)


def reassigning(office: Office, account: str) -> None:
    bulk_reassign(office.edit(NOW), ReassignRequest(ids=[account], targetBrandId="brd_2"))


def purging(office: Office, account: str) -> None:
    delete_item(replace(office.edit(NOW), role="admin"), account, "accounts")


def undoing(office: Office, account: str) -> None:
    """Undo its last operation."""
    last = "SELECT operation FROM stowage.changes WHERE tenant = %s AND id = %s ORDER BY seq DESC LIMIT 1"
    with psycopg.connect(office.app_url, autocommit=True) as connection:
        operation = connection.execute(last, (office.id, account)).fetchone()
    assert operation
    bulk_undo(office.edit(NOW), UndoRequest(operationId=operation[0]))


WHOLE_EDITS: dict[str, Edited] = {
    "restore": restoring,
    "bulk delete": deleting,
    "delete": deleting_one,
    "reassign": reassigning,
}
EDITS: dict[str, Edited] = WHOLE_EDITS | {
    "purge": purging,
    "undo of an update": undoing,
    "undo of a deletion": undoing,
}
"""Those that change the account's row, but for the purge, which deletes it."""
OF_THE_TRASH = ("restore", "purge", "undo of a deletion")


def prepare(office: Office, *edits: str) -> None:
    """For each of these edits an account of that name, with a post, as the edit needs it."""
    office.accounts(*edits)
    for edit in edits:
        office.posts(edit, f"post of {edit}")
    delete(office, "accounts", *(set(edits) & {"restore", "purge"}))
    if "undo of a deletion" in edits:
        delete(office, "accounts", "undo of a deletion")
    if "undo of an update" in edits:
        updates = json.dumps({"updates": [{"id": "undo of an update", "displayName": "New"}]})
        change_records(office.edit(NOW), ACCOUNTS, updates.encode())


def refused_without_a_trace(
    office: Office, subtests: pytest.Subtests, edits: Iterable[str], *names: str, code: str, also: Iterable[str] = ()
) -> None:
    """Assert that each of these edits is refused by these names, and changes nothing, in the tables `also` either."""

    def rows() -> list[Json]:
        return [office.rows(table) for table in ("accounts", "posts", *also)]

    before = rows()
    for edit in edits:
        with subtests.test(edit=edit), told(*names, code=code):
            EDITS[edit](office, edit)
        assert rows() == before, edit
    assert office.is_gapless()


@pytest.mark.parametrize("rule", ["trigger", "trigger with a code", "trigger that names a rule", "at the commit"])
def test_an_edit_that_is_refused_as_a_whole_tells_the_rule(
    office: Office, subtests: pytest.Subtests, rule: str
) -> None:
    prepare(office, *WHOLE_EDITS)
    office.run("UPDATE accounts SET status = 'taken'")
    name, code = make_rule(office, rule, "accounts", "status", "taken")
    refused_without_a_trace(office, subtests, WHOLE_EDITS, name, code=WHOLE[code])


SKIP = """
CREATE FUNCTION skip_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER "skips: 100%% of %%s" BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION skip_it()
"""
SKIPPED = 'A trigger of {table}, "skips: 100% of %s", '


def test_an_edit_that_a_trigger_skips_without_a_word_is_no_success(office: Office, subtests: pytest.Subtests) -> None:
    prepare(office, *EDITS)
    office.run(SKIP.format(event="UPDATE OR DELETE", table="accounts"))
    refused_without_a_trace(office, subtests, EDITS, SKIPPED.format(table="accounts"), code="not_allowed")


def test_what_a_trigger_keeps_from_going_along_is_no_success(office: Office, subtests: pytest.Subtests) -> None:
    edits = ("bulk delete", "delete", *OF_THE_TRASH)
    prepare(office, *edits)
    office.run(SKIP.format(event="UPDATE OR DELETE", table="posts"))
    refused_without_a_trace(office, subtests, edits, SKIPPED.format(table="posts"), code="not_allowed")


def test_the_purge_leaves_what_a_trigger_keeps_and_takes_the_rest(office: Office) -> None:
    office.accounts("a", "b", "c")
    delete(office, "accounts", "a", "b", "c")
    office.run(
        SKIP.format(event="DELETE", table="accounts").replace(
            "BEGIN", "BEGIN IF old.id <> ''b'' THEN RETURN old; END IF;"
        )
    )
    later = NOW + timedelta(days=99)
    assert purge_tenant(office.tenant, later, lambda: True) == (2, True)
    assert list(office.rows("accounts")) == ["b"]
    assert purge_tenant(office.tenant, later, lambda: True) == (0, True)
    assert office.is_gapless()


def test_a_record_that_a_trigger_leaves_out_is_told_so_whichever_way_it_comes(office: Office) -> None:
    one, two = brand(office, "First"), brand(office, "Second")
    skip = "BEGIN IF new.label <> ''kept'' THEN RETURN new; END IF;"
    office.run(SKIP.format(event="INSERT OR UPDATE", table="brands").replace("BEGIN", skip))
    name, before = SKIPPED.format(table="brands"), office.rows("brands")
    with told(name, "skipped this change", code="invalid_request", status=400):
        create_record(office.edit(NOW), BRANDS, b'{"label": "kept"}')
    with told(name, "skipped this change", code="invalid_request", status=400):
        change_record(office.edit(NOW), BRANDS, one, b'{"label": "kept"}', None)
    assert office.rows("brands") == before

    updates = json.dumps({"updates": [{"id": one, "label": "kept"}, {"id": two, "label": "New"}]})
    done = body_of(change_records(office.edit(NOW), BRANDS, updates.encode()))
    assert [(each["index"], each["code"], name in each["error"]) for each in done["failures"]] == [(0, "invalid", True)]
    options = {"skipInvalid": True, "returnFailures": True}
    items = json.dumps({"items": [{"label": "kept"}, {"label": "Third"}], "options": options})
    done = body_of(import_items(office.edit(NOW), BRANDS, items.encode()))
    assert [(each["index"], each["code"], name in each["error"]) for each in done["failures"]] == [(0, "invalid", True)]
    labels = {row["label"] for row in office.rows("brands").values()}
    assert labels - {row["label"] for row in before.values()} == {"New", "Third"}
    assert office.is_gapless()


AFTERWARDS = """
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF pg_trigger_depth() < 2 THEN
        UPDATE tasks SET title = upper(title), description = 'of ' || upper(title), updated_at = clock_timestamp()
        WHERE id = NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER shout AFTER INSERT OR UPDATE OF title ON tasks FOR EACH ROW EXECUTE FUNCTION shout()
"""


def test_what_a_trigger_changes_afterwards_is_in_the_answer_the_journal_and_the_undo(office: Office) -> None:
    """Such a trigger runs when the statement's own rows are told already."""
    office.run(AFTERWARDS)
    tasks, edit = ENTITIES["tasks"], office.edit(NOW)

    def there() -> dict[str, tuple[str, str]]:
        return {key: (row["title"], row["description"]) for key, row in office.rows("tasks").items()}

    def entries(operation: str) -> dict[str, tuple[str, str]]:
        found = office.run("SELECT id, after FROM stowage.changes WHERE operation = %s AND entity = 'tasks'", operation)
        return {key: (after["title"], after["description"]) for key, after in found if "title" in after}

    made = body_of(create_record(edit, tasks, b'{"title": "one"}'))
    assert (made["title"], made["description"]) == ("ONE", "of ONE") == there()[made["id"]]
    assert entries(edit.operation) == there()
    changed = json.loads(change_record(office.edit(NOW), tasks, made["id"], b'{"title": "two"}', None))
    assert (changed["title"], changed["description"]) == ("TWO", "of TWO")
    assert datetime.fromisoformat(changed["updatedAt"]) > NOW

    items = {"items": [{"title": "three"}, {"title": "four"}]}
    imported = body_of(import_items(office.edit(NOW), tasks, json.dumps(items).encode()))
    assert [each["title"] for each in imported["items"]] == ["THREE", "FOUR"]
    assert entries(imported["operationId"]) == {each["id"]: there()[each["id"]] for each in imported["items"]}
    ids = [made["id"], *(each["id"] for each in imported["items"])]
    updates = {"updates": [{"id": each, "title": f"x{n}"} for n, each in enumerate([*ids, "nobody"])]}
    answer = change_records(office.edit(NOW), tasks, json.dumps(updates).encode())
    data = body_of(answer)
    assert (answer.status, data["updated"], data["failed"]) == (207, 3, 1)
    assert [each["title"] for each in data["items"]] == ["X0", "X1", "X2"]
    assert entries(data["operationId"]) == there()
    [(told,)] = office.run("SELECT after FROM stowage.changes WHERE id = %s", data["operationId"])
    assert (told["total"], told["succeeded"], told["failed"]) == (4, 3, 1)

    for operation in (data["operationId"], imported["operationId"]):
        undone = bulk_undo(office.edit(NOW), UndoRequest(operationId=operation))
        assert undone.status == 200, undone.body
    assert {title for title, _ in there().values()} == {"TWO", "THREE", "FOUR"}
    assert office.is_gapless()


@pytest.mark.long(but=["fail", "update"])
@pytest.mark.parametrize("on_conflict", ["fail", "skip", "update"])
def test_rows_of_a_file_that_a_trigger_leaves_out_fail(office: Office, on_conflict: str) -> None:
    one = brand(office, "First")
    skip = "BEGIN IF new.label <> ''kept'' THEN RETURN new; END IF;"
    office.run(SKIP.format(event="INSERT OR UPDATE", table="brands").replace("BEGIN", skip))
    rows = f"id,label\n,kept\n,Fine\n{f'{one},kept\n' if on_conflict == 'update' else ''}".encode()
    result = imported(office.caller(), "brands", "csv", rows, office.id, onConflict=on_conflict)
    assert (result["created"], result["skipped"], result["updated"]) == (1, 0, 0)
    failed = fetched(result, "failed").decode()
    assert failed.count("skips: 100% of %s") == result["failed"] == rows.count(b"kept")
    assert "conflict" not in failed


RULES_INSTEAD = {
    "nothing": "CREATE RULE own_rule AS ON {event} TO {table} DO INSTEAD NOTHING",
    "sometimes nothing": "CREATE RULE own_rule AS ON {event} TO {table} WHERE {row}.id = 'x' DO INSTEAD NOTHING",
    "also": "CREATE TABLE log (id text); "
    "CREATE RULE own_rule AS ON {event} TO {table} DO ALSO INSERT INTO log VALUES ({row}.id)",
    "another table": "CREATE TABLE log (id text); "
    "CREATE RULE own_rule AS ON {event} TO {table} DO INSTEAD INSERT INTO log VALUES ({row}.id)",
}


@pytest.mark.parametrize("rule", RULES_INSTEAD)
def test_an_edit_that_a_rule_stands_in_the_way_of_names_it(
    office: Office, subtests: pytest.Subtests, rule: str
) -> None:
    updates = [edit for edit in EDITS if edit != "purge"] if rule == "nothing" else ["delete"]
    prepare(office, *updates, "purge")
    for event, edits in (("UPDATE", updates), ("DELETE", ["purge"])):
        office.run(RULES_INSTEAD[rule].format(event=event, table="accounts", row="OLD"))
        names = ('accounts ("own_rule")', "CREATE RULE")
        refused_without_a_trace(office, subtests, edits, *names, code="not_allowed")
        office.run("DROP RULE own_rule ON accounts; DROP TABLE IF EXISTS log")


@pytest.mark.parametrize("rule", RULES_INSTEAD)
def test_a_record_that_a_rule_stands_in_the_way_of_names_it(office: Office, rule: str) -> None:
    one = brand(office, "First")
    office.run(RULES_INSTEAD[rule].format(event="UPDATE", table="brands", row="OLD"))
    writes = {
        "PATCH": lambda: change_record(office.edit(NOW), BRANDS, one, b'{"label": "New"}', None),
        "bulk": lambda: change_records(
            office.edit(NOW), BRANDS, json.dumps({"updates": [{"id": one, "label": "New"}]}).encode()
        ),
    }
    creates = {
        "POST": lambda: create_record(office.edit(NOW), BRANDS, b'{"label": "Another"}'),
        "import": lambda: import_items(office.edit(NOW), BRANDS, b'{"items": [{"label": "Another"}]}'),
    }
    before = office.rows("brands")
    for write in (*writes.values(), *creates.values()):  # ON CONFLICT goes with no rule at all
        with told('brands ("own_rule")', "CREATE RULE", code="not_allowed"):
            write()
    office.run("DROP RULE own_rule ON brands; DROP TABLE IF EXISTS log")
    office.run(RULES_INSTEAD[rule].format(event="INSERT", table="brands", row="NEW"))
    for write in creates.values():
        with told('brands ("own_rule")', "CREATE RULE", code="not_allowed"):
            write()
    assert office.rows("brands") == before
    assert office.is_gapless()


FOLLOWED = {
    "the same rows of another table": "WHERE others.id = OLD.id RETURNING others.*",
    "another record": "WHERE others.id = 'z' RETURNING others.*",
    "what was there": "WHERE others.id = OLD.id RETURNING OLD.*",
}


def follow(office: Office, rule: str, table: str, column: str) -> None:
    """Lead the updates of a table to another one, of the same columns, with one record more."""
    # Postgres gives such a rule only to tables that have never lost a column.
    office.run(f"""
        CREATE TABLE fresh (LIKE {table} INCLUDING ALL); INSERT INTO fresh SELECT * FROM {table};
        DROP TABLE {table} CASCADE; ALTER TABLE fresh RENAME TO {table};
        CREATE TABLE others AS SELECT * FROM {table};
        INSERT INTO others SELECT (more).* FROM (
            SELECT jsonb_populate_record(others, '{{"id": "z"}}') AS more FROM others LIMIT 1
        ) AS one;
        CREATE RULE own_rule AS ON UPDATE TO {table} DO INSTEAD
            UPDATE others SET {column} = NEW.{column}, deleted_at = NEW.deleted_at {FOLLOWED[rule]}
    """)
    office.database.execute("SELECT stowage.grant_tenant(%s)", (office.schema,))


@pytest.mark.parametrize("rule", FOLLOWED)
def test_a_rule_that_returns_rows_of_its_own_is_no_success(
    office: Office, subtests: pytest.Subtests, rule: str
) -> None:
    edits = [edit for edit in EDITS if edit != "purge"]
    prepare(office, *edits)
    follow(office, rule, "accounts", "username")
    names = ('accounts ("own_rule")', "CREATE RULE")
    refused_without_a_trace(office, subtests, edits, *names, code="not_allowed", also=["others"])


@pytest.mark.parametrize("rule", FOLLOWED)
def test_a_record_that_such_a_rule_would_change_elsewhere_stays(office: Office, rule: str) -> None:
    one = brand(office, "First")
    follow(office, rule, "brands", "label")
    before = office.rows("brands"), office.rows("others")
    updates = json.dumps({"updates": [{"id": one, "label": "New"}]}).encode()
    for write in (
        lambda: change_record(office.edit(NOW), BRANDS, one, b'{"label": "New"}', None),
        lambda: change_records(office.edit(NOW), BRANDS, updates),
        lambda: create_record(office.edit(NOW), BRANDS, b'{"label": "Another"}'),
    ):
        with told('brands ("own_rule")', "CREATE RULE", code="not_allowed"):
            write()
    assert (office.rows("brands"), office.rows("others")) == before
    assert office.is_gapless()


def test_a_rule_instead_of_deletions_leaves_changes_alone(office: Office) -> None:
    one = brand(office, "First")
    office.run("CREATE RULE own_rule AS ON DELETE TO brands DO INSTEAD NOTHING")
    assert json.loads(change_record(office.edit(NOW), BRANDS, one, b'{"label": "New"}', None))["label"] == "New"


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
def test_a_file_for_a_table_with_a_rule_is_told_so(office: Office, event: str) -> None:
    one = brand(office, "First")
    if event == "INSERT":
        office.run("CREATE RULE own_rule AS ON INSERT TO brands DO INSTEAD NOTHING")
        file, options = b"label\nOne\n", {}
    else:
        follow(office, "what was there", "brands", "label")
        file, options = f"id,label\n{one},New\n".encode(), {"onConflict": "update"}
    job = ended(office.caller(), started(office.caller(), "brands", "csv", file, tenant=office.id, **options), 60)
    assert (job["status"], job["attempts"]) == ("failed", 1)
    assert "Rules of the table brands (CREATE RULE) stand in the way" in job["last_error"]


@pytest.mark.parametrize("rule", ["unique", "exclusion", "check", "foreign key"])
def test_a_reassignment_is_told_the_constraint(office: Office, rule: str) -> None:
    office.accounts("a", brand="brd_1", group=None)
    if rule != "check":
        office.accounts("b", brand="brd_2", group=None)
    if rule == "foreign key":
        office.run(
            "CREATE TABLE allowed (name text PRIMARY KEY); INSERT INTO allowed VALUES ('brd_1');"
            "UPDATE accounts SET brand_id = 'brd_1'; "
            "ALTER TABLE accounts ADD CONSTRAINT own_rule FOREIGN KEY (brand_id) REFERENCES allowed"
        )
    else:
        make_rule(office, rule, "accounts", "brand_id", "brd_2")
    with told("own_rule", "accounts", code=WHOLE[RULES[rule][2]]):
        bulk_reassign(office.edit(NOW), ReassignRequest(ids=["a"], targetBrandId="brd_2"))


def test_a_name_that_grows_too_long_is_told_the_check(office: Office) -> None:
    office.run("ALTER TABLE brands ADD CONSTRAINT own_rule CHECK (length(label) < 10)")
    gone = brand(office, "Shoes")
    delete(office, "brands", gone)
    brand(office, "Shoes")
    with told("own_rule", "brands", code="not_allowed"):
        restore(office, gone, "rename")
    office.run("ALTER TABLE brands DROP CONSTRAINT own_rule; ALTER TABLE brands ALTER label TYPE varchar(8)")
    with told("does not fit", code="not_allowed"):
        restore(office, gone, "rename")
    assert gone not in office.live("brands")


@pytest.mark.parametrize("kind", ["update", "import"])
def test_a_request_in_parts_takes_the_journals_numbers_with_its_last_statement(
    office: Office, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make_rule(office, "trigger", "brands", "label", "taken")
    ids = [brand(office, f"Brand {n}") for n in range(12)]
    updates = [{"id": record_id, "label": "taken" if n == 5 else f"New {n}"} for n, record_id in enumerate(ids)]
    items = [{"label": "taken" if n == 5 else f"More {n}"} for n in range(12)]
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def note(cursor: psycopg.Cursor, query: Any, *given: Any, **options: Any) -> Any:
        sent.append(query.as_string(cursor) if hasattr(query, "as_string") else str(query))
        return execute(cursor, query, *given, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", note)
    if kind == "update":
        answer = change_records(office.edit(NOW), BRANDS, json.dumps({"updates": updates}).encode())
    else:
        body = {"items": items, "options": {"skipInvalid": True}}
        answer = import_items(office.edit(NOW), BRANDS, json.dumps(body).encode())
    monkeypatch.undo()
    done = body_of(answer)
    assert done["failed"] == 1
    writing = [n for n, text in enumerate(sent) if "brands" in text and ("INSERT INTO" in text or "UPDATE" in text)]
    # The first attempt takes them too, and gives them back with its savepoint.
    taking = [n for n, text in enumerate(sent) if "take_seqs" in text][1:]
    assert len(writing) > 4
    assert len(taking) == 1
    assert taking[0] > max(writing)
    entries = office.journal(done["operationId"])
    assert [entry["type"] for entry in entries] == ["updated" if kind == "update" else "created"] * 11 + ["operation"]
    labels = [entry["after"]["label"] for entry in entries[:-1]]
    assert labels == [f"{'New' if kind == 'update' else 'More'} {n}" for n in range(12) if n != 5]
    assert office.is_gapless()
