"""A request's one transaction ends in time, and then nothing was changed."""

from collections.abc import Iterator

import pytest

from stowage.basics.errors import UnavailableError
from stowage.postgres.session.connection import Connection
from stowage.postgres.session.transactions import transact
from tests.conftest import RunningStack
from tests.stack.office import Office, in_process


@pytest.fixture(autouse=True)
def here(stack: RunningStack) -> Iterator[None]:
    with in_process(stack):
        yield


def test_it_ends_in_time_however_short_each_of_its_statements_is(office: Office) -> None:
    office.accounts("a")
    done = []

    def work(connection: Connection) -> None:
        connection.execute(f'UPDATE "{office.schema}".accounts SET status = $$changed$$'.encode())
        for n in range(1_000):
            connection.execute("SELECT pg_sleep(0.05)")
            done.append(n)

    with pytest.raises(UnavailableError) as told:
        transact("main", work, seconds=0.3)
    assert (told.value.status, told.value.code, told.value.retry_after) == (503, "database_busy", 2)
    assert len(done) < 100
    assert office.rows("accounts")["a"]["status"] == "active"


def test_one_that_was_late_leaves_nothing_to_the_next(office: Office) -> None:
    office.accounts("a")
    with pytest.raises(UnavailableError):
        transact("main", lambda connection: connection.execute("SELECT pg_sleep(60)"), seconds=0.05)
    count = f'SELECT count(*) FROM "{office.schema}".accounts'.encode()
    assert transact("main", lambda connection: connection.execute(count).fetchone()) == (1,)


RULES = {
    "check": "ALTER TABLE {schema}.accounts ADD CHECK (brand_id <> 'brd_2')",
    "trigger": """
        CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'secret words' USING ERRCODE = 'SHOP1'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON {schema}.accounts FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()
    """,
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_the_adopters_own_refuses_in_our_words(office: Office, rule: str) -> None:
    office.accounts("a", "b")
    office.database.execute(RULES[rule].replace("{schema}", f'"{office.schema}"').encode())
    was = office.rows("accounts")
    answer = office.caller().post(office.path("bulk/reassign"), json={"ids": ["a", "b"], "targetBrandId": "brd_2"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_allowed"), answer.text
    assert "secret" not in answer.text
    assert office.rows("accounts") == was
    assert office.is_gapless()
