"""What only the database refuses fails the rows that it is about, whatever it is and however many rows there are."""

import random
from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import Api, RunningStack
from tests.stack.file_import_surface import counts, csv_file, imported, result_rows
from tests.stack.office import Office, open_office

ROWS = 12_000
"""Three batches."""
FEW = 40
BAD = (3, 29, 30, 4_999, 5_000, 11_999)
LONG = "x" * 21
UNFIT = "A value does not fit its column in the database."
FIELD_UNFIT = "displayName: this displayName does not fit its column in the database."
TOO_LONG = "A value is too long for an index of the database."
BREVITY = 'The check "brevity" of the type short_text does not allow this.'
REFUSED = 'A rule of the database, the function "refuse", does not allow this.'


@pytest.fixture
def office(stack: RunningStack, database: psycopg.Connection) -> Iterator[Office]:
    made = open_office(stack, database)
    yield made
    made.close()


@pytest.fixture
def api(office: Office) -> Api:
    """An operator of the office."""
    return office.caller()


def accounts(rows: int) -> bytes:
    """A file of accounts, some of them with a longer name."""
    header = "id,username,platform,brandId,displayName,followers"
    return csv_file(header, *(f"a{n},a {n},x,brd_1,{LONG if n in BAD else 'short'},{n}" for n in range(rows)))


COLUMN = "ALTER TABLE accounts ALTER display_name TYPE varchar(20)"
ENUM = """
CREATE TYPE kind AS ENUM ('short', 'other');
ALTER TABLE accounts ALTER display_name TYPE kind USING display_name::kind
"""
DOMAIN = """
CREATE DOMAIN short_text AS text CONSTRAINT brevity CHECK (length(VALUE) <= 20);
ALTER TABLE accounts ALTER display_name TYPE short_text
"""
CHECK = "ALTER TABLE accounts ADD CONSTRAINT brevity CHECK (length(display_name) <= 20)"
BROKEN_CHECK = "ALTER TABLE accounts ADD CHECK (1 / greatest(21 - length(display_name), 0) >= 0)"
TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF length(NEW.display_name) > 20 THEN RAISE EXCEPTION 'no' USING ERRCODE = 'SH001'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.mark.long(but=["column", "broken_check", "trigger", "domain"])
@pytest.mark.parametrize(
    ("rows", "rule", "sentence"),
    [
        (ROWS, COLUMN, FIELD_UNFIT),
        (FEW, ENUM, FIELD_UNFIT),
        (FEW, DOMAIN, BREVITY),
        (FEW, CHECK, 'displayName: this displayName is not allowed by the check "brevity" of accounts.'),
        (FEW, BROKEN_CHECK, UNFIT),
        (FEW, TRIGGER, REFUSED),
    ],
    ids=["column", "enum", "domain", "check", "broken_check", "trigger"],
)
def test_a_rule_of_the_owners_own_fails_its_rows_alone(
    office: Office, api: Api, rows: int, rule: str, sentence: str
) -> None:
    office.run(rule)
    bad = [n for n in BAD if n < rows]

    made = imported(api, "accounts", "csv", accounts(rows), tenant=office.id)

    assert counts(made) == {"created": rows - len(bad), "failed": len(bad)}
    failed = result_rows(made, "failed")
    assert [int(row["_line"]) for row in failed] == [n + 2 for n in bad]
    assert {(row["_code"], row["_error"]) for row in failed} == {("invalid", sentence)}

    data = accounts(rows).replace(b",1\r\n", b",77\r\n")
    changed = imported(api, "accounts", "csv", data, tenant=office.id, onConflict="update")

    assert counts(changed) == {"updated": rows - len(bad), "failed": len(bad)}
    assert [int(row["_line"]) for row in result_rows(changed, "failed")] == [n + 2 for n in bad]
    assert office.rows("accounts")["a1"]["followers"] == 77
    assert office.is_gapless()


def test_an_update_that_only_the_database_refuses_fails_alone(office: Office, api: Api) -> None:
    imported(api, "accounts", "csv", accounts(3), tenant=office.id)
    office.run(BROKEN_CHECK + " NOT VALID")

    data = csv_file(
        "id,username,platform,brandId,displayName",
        f"a1,a 1,x,brd_1,{LONG}",
        "a2,a 2,x,brd_1,new",
        f"a0,a,x,brd_1,{LONG}",
    )
    changed = imported(api, "accounts", "csv", data, tenant=office.id, onConflict="update")

    assert counts(changed) == {"updated": 1, "failed": 2}
    assert office.rows("accounts")["a2"]["display_name"] == "new"


def test_a_text_that_no_index_holds_fails_its_row_and_is_refused_by_the_api(office: Office, api: Api) -> None:
    office.run("CREATE INDEX ON users (name)")
    long = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9_000))

    made = imported(api, "users", "csv", csv_file("name,email", f"{long},a@b", "short,c@d"), tenant=office.id)

    assert counts(made) == {"created": 1, "failed": 1}
    [failed] = result_rows(made, "failed")
    assert failed["_error"] == TOO_LONG
    answer = api.post("/api/v1/users", json={"name": long, "email": "a@b"})
    assert (answer.status_code, answer.json()["error"]) == (400, TOO_LONG)
