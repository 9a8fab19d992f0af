"""Filters let exactly the rows through that they name, whatever characters a value holds."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from stowage.basics.ids import encode_id
from stowage.entities.declared import ENTITIES
from stowage.entities.filters import parse_filters
from stowage.exports.formats import estimate
from stowage.exports.formats.formulas import restore
from stowage.postgres.reads.records import read_page
from stowage.tenants import Tenant
from tests.stack.export_surface import LONGEST_CELL, NASTY_WORDS, SPECIMENS, export, journal, sample_database, stored
from tests.stack.scratch_databases import connect, server_url


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    with sample_database(server_url(request)) as url:
        yield url


@pytest.fixture(autouse=True)
def specimens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENTITIES, "specimens", SPECIMENS)


def ids(database: str, slug: str, data_type: str, raw: dict[str, Any]) -> list[str]:
    """The ids that an export with these filters holds, in order."""
    data = export(database, slug, data_type, "csv", parse_filters(data_type, raw)).data
    csv.field_size_limit(LONGEST_CELL)
    return sorted(restore(row["id"]) for row in csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_equality_a_comma_and_a_list_mean_any_of(database: str) -> None:
    rows = stored(database, "globex", "accounts")
    platforms = sorted({row["platform"] for row in rows})[:2]
    wanted = sorted(row["id"] for row in rows if row["platform"] in platforms)
    one = sorted(row["id"] for row in rows if row["platform"] == platforms[0])
    assert ids(database, "globex", "accounts", {"platform": platforms[0]}) == one
    assert ids(database, "globex", "accounts", {"platform": ", ".join(platforms)}) == wanted
    assert ids(database, "globex", "accounts", {"platform": platforms}) == wanted
    brand = rows[0]["brandId"]
    both = sorted(row["id"] for row in rows if row["platform"] in platforms and row["brandId"] == brand)
    assert both
    assert ids(database, "globex", "accounts", {"platform": platforms, "brandId": brand, "status": None}) == both


def test_posts_are_found_by_their_accounts_fields_in_exports_lists_and_estimates(database: str) -> None:
    accounts = {row["id"]: row for row in stored(database, "globex", "accounts", everything=True)}
    posts = stored(database, "globex", "posts")
    chosen = accounts[posts[0]["accountId"]]
    for raw in (
        {"platform": chosen["platform"]},
        {"brandId": encode_id(chosen["brandId"])},
        {"accountGroupId": [chosen["groupId"], "another"]},
        {"platform": chosen["platform"], "brandId": chosen["brandId"], "groupId": chosen["groupId"]},
        {"platform": "nothing's"},
    ):
        wanted = sorted(
            post["id"]
            for post in posts
            if all(
                accounts[post["accountId"]][name.replace("accountGroupId", "groupId")] in value
                for name, value in raw.items()
            )
        )
        assert ids(database, "globex", "posts", raw) == wanted
        with connect(database) as connection:
            filters = parse_filters("posts", raw)
            page = read_page(connection, Tenant("globex", "globex", "Globex"), ENTITIES["posts"], filters, (), 10, 0)
            assert page.total == len(wanted)
            assert estimate(connection, "tenant_globex", "globex", "posts", filters, "csv").rows <= len(posts)


def test_an_end_date_takes_its_whole_day(database: str) -> None:
    rows = stored(database, "globex", "posts")
    last = max(row["createdAt"] for row in rows)
    day = last.date().isoformat()
    assert ids(database, "globex", "posts", {"endDate": day}) == sorted(row["id"] for row in rows)
    wanted = sorted(row["id"] for row in rows if row["createdAt"].date().isoformat() == day)
    assert ids(database, "globex", "posts", {"startDate": day, "endDate": day}) == wanted
    assert ids(database, "globex", "posts", {"startDate": day, "endDate": last.isoformat()}) == wanted


@pytest.mark.parametrize("words", [words for words in NASTY_WORDS if words and len(words) < 20_000])
def test_any_text_can_be_asked_for_alone_and_in_a_list(database: str, words: str) -> None:
    rows = stored(database, "zoo", "specimens")
    wanted = [row["id"] for row in rows if row["words"] == words]
    assert set(ids(database, "zoo", "specimens", {"words": words})) >= set(wanted)
    assert ids(database, "zoo", "specimens", {"words": [words]}) == wanted


@pytest.mark.parametrize("words", ["%", "_", "\\", "'", "LINE\nFEED", "ÉÉ", "🦓", "amp;", "x000d"])
def test_search_finds_the_text_anywhere_in_any_case_and_takes_no_wildcards(database: str, words: str) -> None:
    rows = stored(database, "zoo", "specimens")
    wanted = sorted(row["id"] for row in rows if words.lower() in (row["words"] or "").lower())
    assert ids(database, "zoo", "specimens", {"search": words}) == wanted


def test_ids_are_taken_raw_and_encoded_also_urls_with_commas(database: str) -> None:
    posts = [row["id"] for row in stored(database, "zoo", "posts")]
    odd = [post for post in posts if encode_id(post) != post]
    assert len(odd) > 20
    assert ids(database, "zoo", "posts", {"ids": odd}) == odd
    assert ids(database, "zoo", "posts", {"ids": [encode_id(post) for post in odd]}) == odd
    assert ids(database, "zoo", "posts", {"ids": ",".join(encode_id(post) for post in odd)}) == odd
    comma = next(post for post in odd if "," in post)
    assert comma in ids(database, "zoo", "posts", {"ids": comma})


def test_windows_of_time_that_meet_share_no_row_and_lose_none(database: str) -> None:
    rows = stored(database, "globex", "posts")
    middle: datetime = sorted(row["createdAt"] for row in rows)[len(rows) // 2]
    before = ids(database, "globex", "posts", {"createdBefore": middle.isoformat()})
    after = ids(database, "globex", "posts", {"createdAfter": middle.isoformat().replace("+00:00", "Z")})
    assert before
    assert after
    assert sorted(before + after) == sorted(row["id"] for row in rows)
    day = middle.date()
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    wanted = sorted(row["id"] for row in rows if row["createdAt"] >= start)
    assert ids(database, "globex", "posts", {"createdAfter": day.isoformat()}) == wanted


def test_values_are_typed_by_their_field(database: str) -> None:
    rows = stored(database, "zoo", "specimens")

    def having(name: str, *values: object) -> list[str]:
        return [row["id"] for row in rows if row[name] in values and row[name] is not None]

    assert ids(database, "zoo", "specimens", {"whole": "1,-1"}) == having("whole", 1, -1)
    assert ids(database, "zoo", "specimens", {"whole": 2**63 - 1}) == having("whole", 2**63 - 1)
    assert ids(database, "zoo", "specimens", {"fraction": [0.1, -0.5]}) == having("fraction", 0.1, -0.5)
    assert ids(database, "zoo", "specimens", {"flag": True}) == [row["id"] for row in rows if row["flag"] is True]
    assert ids(database, "zoo", "specimens", {"flag": "false"}) == [row["id"] for row in rows if row["flag"] is False]
    moment = datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)
    assert ids(database, "zoo", "specimens", {"happenedAt": moment.isoformat()}) == having("happenedAt", moment)


def test_a_number_beyond_its_column_finds_nothing(database: str) -> None:
    assert ids(database, "zoo", "specimens", {"whole": 10**30}) == []


def test_the_journal_is_filtered_by_what_its_entries_tell(database: str) -> None:
    rows = journal(database, "globex")
    wanted = sorted(row["id"] for row in rows if row["entity"] == "posts" and row["type"] == "deleted")
    assert wanted
    assert ids(database, "globex", "audit", {"entity": "posts", "type": "deleted"}) == wanted
    one = rows[-1]
    assert ids(database, "globex", "audit", {"ids": one["id"]}) == [row["id"] for row in rows if row["id"] == one["id"]]
    assert len(ids(database, "globex", "audit", {"createdAfter": one["at"].isoformat()})) >= 1


def test_a_tenants_journal_is_its_own(database: str) -> None:
    assert journal(database, "globex")
    assert ids(database, "initech", "audit", {}) == []
