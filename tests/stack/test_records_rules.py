"""Rules that only the database knows, as an adopter's own tables have them: each refuses its own record only."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import RunningStack
from tests.stack.record_surface import SCHEMA, RecordApi, complaints, data, record_api, refused

pytestmark = pytest.mark.usefixtures("direct")

OWN_RULES = f"""
CREATE TABLE {SCHEMA}.own_words (word text PRIMARY KEY);
INSERT INTO {SCHEMA}.own_words VALUES ('known');
CREATE UNIQUE INDEX own_unique ON {SCHEMA}.tasks (title) WHERE title LIKE 'unique %';
ALTER TABLE {SCHEMA}.tasks
    ADD own_word text GENERATED ALWAYS AS (CASE WHEN title LIKE 'word %' THEN description END) STORED
        REFERENCES {SCHEMA}.own_words DEFERRABLE INITIALLY DEFERRED,
    ADD own_number int GENERATED ALWAYS AS (CASE WHEN title LIKE 'number %' THEN description::int END) STORED,
    ADD CONSTRAINT own_exclusion EXCLUDE USING btree (title WITH =) WHERE (title LIKE 'excluded %');
CREATE FUNCTION {SCHEMA}.own_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE new.description
        WHEN 'refused' THEN RAISE EXCEPTION 'internal';
        WHEN 'refused by a code' THEN RAISE EXCEPTION 'internal' USING ERRCODE = 'ST001';
        WHEN 'left out' THEN RETURN NULL;
        ELSE RETURN new;
    END CASE;
END
$$;
CREATE TRIGGER own_trigger BEFORE INSERT OR UPDATE ON {SCHEMA}.tasks
    FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.own_trigger();
CREATE INDEX own_long ON {SCHEMA}.tasks (description) WHERE title LIKE 'long %';
ALTER TABLE {SCHEMA}.accounts ALTER followers TYPE int;
"""
NO_OWN_RULES = f"""
DROP TRIGGER own_trigger ON {SCHEMA}.tasks;
DROP FUNCTION {SCHEMA}.own_trigger;
DROP INDEX {SCHEMA}.own_unique, {SCHEMA}.own_long;
ALTER TABLE {SCHEMA}.tasks DROP own_word, DROP own_number, DROP CONSTRAINT own_exclusion;
DROP TABLE {SCHEMA}.own_words;
ALTER TABLE {SCHEMA}.accounts ALTER followers TYPE bigint;
"""
UNIQUE = 'The unique rule "{}" of tasks does not allow this: another record is in the way.'
SKIPPED = 'A trigger of tasks, "own_trigger", skipped this change and gave no reason.'
REFUSED = 'A rule of the database, the function "own_trigger", does not allow this.'
NO_SUCH = (
    'The foreign key "tasks_own_word_fkey" of tasks does not allow this: a record would refer to one that is not there.'
)
NOT_FITTING = "A value does not fit its column in the database."
LONG = "".join(str(uuid4()) for _ in range(300))


@pytest.fixture(scope="module")
def records(stack: RunningStack) -> Iterator[RecordApi]:
    made = record_api(stack)
    with made.database("stowage_master") as owner:
        owner.execute(OWN_RULES)
        try:
            yield made
        finally:
            owner.execute(NO_OWN_RULES)
            made.close()


@pytest.fixture(
    params=[
        ("unique", "d", "conflict", UNIQUE.format("own_unique")),
        ("excluded", "d", "conflict", UNIQUE.format("own_exclusion")),
        ("word", "unknown", "invalid_reference", NO_SUCH),
        ("number", "many", "invalid", NOT_FITTING),
        ("long", LONG, "invalid", "A value is too long for an index of the database."),
        ("x", "refused", "invalid", REFUSED),
        ("x", "refused by a code", "invalid", REFUSED),
        ("x", "left out", "invalid", SKIPPED),
    ],
    ids=["unique", "exclusion", "reference", "value", "index", "trigger", "code", "left-out"],
)
def offence(request: pytest.FixtureRequest, records: RecordApi) -> tuple[dict[str, Any], str, str]:
    """Fields that a rule does not allow, the code, the sentence."""
    word, description, code, error = request.param
    title = f"{word} {uuid4()}"
    if code == "conflict" and description == "d":
        records.make("tasks", title=title)
    return {"title": title, "description": description}, code, error


def test_of_an_import_only_the_items_that_a_rule_refuses_are_not_saved(
    records: RecordApi, offence: tuple[dict[str, Any], str, str]
) -> None:
    bad, code, error = offence
    items: list[dict[str, Any]] = [{"title": f"good {n}"} for n in range(9)]
    items[3], items[7] = bad, {"title": "x", "assignee": "nobody"}

    before = records.seqs()
    refusal = refused(records.operator.post("/api/v1/import/tasks", json={"items": items}), 400, "invalid_items")
    assert complaints(refusal) == {
        "items[3]": error[:1].lower() + error[1:].rstrip("."),
        "items[7].assignee": "there is no user with this id",
    }
    assert records.seqs() == before

    options = {"skipInvalid": True, "returnFailures": True}
    body = {"items": items, "options": options}
    answer = data(records.operator.post("/api/v1/import/tasks", json=body), 201)
    assert [item["title"] for item in answer["items"]] == [f"good {n}" for n in (0, 1, 2, 4, 5, 6, 8)]
    assert [(failure["index"], failure["code"], failure["error"]) for failure in answer["failures"]] == [
        (3, code, error),
        (7, "invalid_reference", "There is no user with this id."),
    ]
    journal = records.journal(operation=answer["operationId"])
    assert [entry["type"] for entry in journal] == ["created"] * 7 + ["operation"]
    assert journal[-1]["after"] == {"kind": "import", "total": 9, "succeeded": 7, "failed": 2}


def test_of_a_bulk_update_only_the_records_that_a_rule_refuses_are_not_changed(
    records: RecordApi, offence: tuple[dict[str, Any], str, str]
) -> None:
    bad, code, error = offence
    items = [{"title": f"old {n}"} for n in range(9)]
    made = data(records.operator.post("/api/v1/import/tasks", json={"items": items}), 201)["items"]
    updates: list[dict[str, Any]] = [{"id": task["id"], "title": f"new {n}"} for n, task in enumerate(made)][::-1]
    updates[3] |= bad
    updates[7] |= {"assignee": "nobody"}
    updates.append({"id": "nothing", "title": "new"})

    answer = data(records.operator.patch("/api/v1/bulk/tasks", json={"updates": updates}), 207)
    assert answer["updated"] == 7
    assert [item["id"] for item in answer["items"]] == [updates[n]["id"] for n in (0, 1, 2, 4, 5, 6, 8)]
    assert [(failure["index"], failure["code"], failure["error"]) for failure in answer["failures"]] == [
        (3, code, error),
        (7, "invalid_reference", "There is no user with this id."),
        (9, "not_found", "There is no such record."),
    ]
    assert records.read("tasks", updates[3]["id"]) == made[5]
    journal = records.journal(operation=answer["operationId"])
    assert [entry["type"] for entry in journal] == ["updated"] * 7 + ["operation"]
    assert journal[-1]["after"] == {"kind": "update", "total": 10, "succeeded": 7, "failed": 3}


def test_a_rule_refuses_one_record_alone(records: RecordApi, offence: tuple[dict[str, Any], str, str]) -> None:
    bad, code, error = offence
    status, code = (409, code) if code == "conflict" else (400, "invalid_request" if code == "invalid" else code)
    before = records.seqs()
    assert refused(records.operator.post("/api/v1/tasks", json=bad), status, code)["error"] == error
    assert records.seqs() == before
    made = records.make("tasks", title="x")
    assert refused(records.operator.patch(f"/api/v1/tasks/{made['id']}", json=bad), status, code)["error"] == error
    assert records.read("tasks", made["id"]) == made


def test_beside_a_value_that_does_not_fit_the_others_are_still_judged(records: RecordApi) -> None:
    brand = records.brand()
    items: list[dict[str, Any]] = [{"username": f"{uuid4()}", "platform": "x", "brandId": brand} for _ in range(4)]
    items[1]["followers"] = 2**40
    items[2]["brandId"] = "nothing"
    expected = [
        (1, "invalid", "This followers does not fit its column in the database."),
        (2, "invalid_reference", "There is no brand with this id."),
    ]
    body = {"items": items, "options": {"skipInvalid": True, "returnFailures": True}}
    answer = data(records.operator.post("/api/v1/import/accounts", json=body), 201)
    assert [(failure["index"], failure["code"], failure["error"]) for failure in answer["failures"]] == expected
    one, two = (item["id"] for item in answer["items"])
    three, four = (records.account(brand)["id"] for _ in range(2))
    updates = [
        {"id": one, "followers": 7},
        {"id": two, "followers": 2**40},
        {"id": three, "brandId": "nothing"},
        {"id": four, "followers": 8},
    ]
    answer = data(records.operator.patch("/api/v1/bulk/accounts", json={"updates": updates}), 207)
    assert [(failure["index"], failure["code"], failure["error"]) for failure in answer["failures"]] == expected
    assert [item["followers"] for item in answer["items"]] == [7, 8]
