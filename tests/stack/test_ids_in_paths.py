"""No change reaches another record than the one that the client named, however its id was written into the path."""

from base64 import urlsafe_b64encode
from urllib.parse import quote

import pytest

from stowage.basics.ids import encode_id
from tests.stack.office import Office, refusal

pytestmark = pytest.mark.usefixtures("direct")

URL, LONGER = "https://t.example/p/1", "https://t.example/p/1?x=2"
MOUNTS = ("/api/guilds", "/api/v1/guilds")
TRASH = [
    (method, path, mount)
    for method, path in (("DELETE", "trash/{}"), ("POST", "trash/{}"), ("POST", "trash/{}/restore"))
    for mount in MOUNTS
]
RECORDS = [("PATCH", "/api/v1/posts/{}"), ("DELETE", "/api/v1/posts/{}")]


def raw_forms(record_id: str) -> list[str]:
    """How clients that know nothing of the encoded form write an id into a path."""
    once = quote(record_id, safe="")
    return [once, once.lower(), quote(once, safe=""), quote(record_id, safe="/:"), once + "%3F", "%3F" + once]


def fill(office: Office, *ids: str, trashed: bool) -> None:
    """Make these posts, in the trash or outside it."""
    office.accounts("acc_1")
    office.posts("acc_1", *ids)
    if trashed:
        office.delete(*ids, data_type="posts")


@pytest.mark.parametrize(("method", "path", "mount"), TRASH)
def test_the_trash_changes_nothing_by_an_id_that_may_have_been_cut(
    method: str, path: str, mount: str, office: Office
) -> None:
    fill(office, URL, LONGER, URL + "#x", trashed=True)
    before, api = office.rows("posts"), office.caller("admin")
    for record_id in (URL, LONGER, URL + "#x"):
        for form in raw_forms(record_id):
            response = api.request(method, office.path(path.format(form), mount))
            assert response.status_code in (400, 404), (form, response.text)
    assert office.rows("posts") == before
    refusal(api.request(method, office.path(path.format(quote(LONGER, safe="")), mount)), 400, "encode_id")

    response = api.request(method, office.path(path.format(encode_id(LONGER)), mount))
    assert response.status_code == 200, response.text
    after = office.rows("posts")
    assert {each for each in before if before[each] != after.get(each)} == {LONGER}


@pytest.mark.parametrize(("method", "path"), RECORDS)
def test_a_record_is_not_changed_by_an_id_that_may_have_been_cut(method: str, path: str, office: Office) -> None:
    fill(office, URL, LONGER, trashed=False)
    before, api = office.rows("posts"), office.caller("admin")
    for record_id in (URL, LONGER):
        for form in raw_forms(record_id):
            response = api.request(method, path.format(form), json={"caption": "mine"})
            assert response.status_code in (400, 404, 405), (form, response.text)
    assert office.rows("posts") == before
    refusal(api.request(method, path.format(quote(LONGER, safe="")), json={"caption": "mine"}), 400, "encode_id")

    assert api.request(method, path.format(encode_id(LONGER)), json={"caption": "mine"}).status_code == 200
    after = office.rows("posts")
    assert {each for each in before if before[each] != after[each]} == {LONGER}


@pytest.mark.parametrize("form", ["abc", "abc%3Fx=2", "abc%3fx=2", "abc?", "abc%3F"])
@pytest.mark.parametrize("longer", ["abc?x=2", "abc?"])
def test_a_plain_id_that_may_be_the_cut_form_of_another_changes_nothing(longer: str, form: str, office: Office) -> None:
    fill(office, "abc", longer, "abcd", trashed=True)
    trashed, api = office.rows("posts"), office.caller("admin")
    for method, path, mount in TRASH:
        address = office.path(path.format(form), mount)
        response = api.request(method, address)
        assert response.status_code in (400, 404, 405), response.text
    refusal(api.delete(office.path(f"trash/{form}")), 400, "encode_id")
    refusal(api.delete(office.path(f"trash/{form.partition('?')[0]}?dataType=posts")), 400, "encode_id")
    assert office.rows("posts") == trashed
    assert api.delete(office.path("trash/abcd")).status_code == 200, "nobody's id goes on behind this one"

    office.run("UPDATE posts SET deleted_at = NULL")
    live = office.rows("posts")
    for method, path in RECORDS:
        refusal(api.request(method, path.format(form), json={"caption": "mine"}), 400, "encode_id")
    assert office.rows("posts") == live
    deleted = api.post("/api/v1/bulk/posts/delete", json={"ids": ["abc"]})
    assert deleted.status_code == 200, "a body is never cut"


@pytest.mark.parametrize("longer", ["?", "?x=2"])
def test_an_encoded_id_that_may_be_the_cut_form_of_a_raw_one_changes_nothing(longer: str, office: Office) -> None:
    form = encode_id("abc?")
    fill(office, "abc?", form + longer, trashed=False)
    live, api = office.rows("posts"), office.caller("admin")
    for method, path in RECORDS:
        for address in (form, quote(form + longer, safe="~")):
            refusal(api.request(method, path.format(address), json={"caption": "mine"}), 400, "encode_id")
    assert office.rows("posts") == live


def test_an_id_that_goes_on_in_another_entity_counts_where_no_type_is_named(office: Office) -> None:
    office.accounts("abc")
    office.delete("abc")
    office.run("INSERT INTO users (id, name, email) VALUES ('abc?x=2', 'Ann', 'ann@x.example')")
    api = office.caller("admin")
    for method in ("POST", "DELETE"):
        refusal(api.request(method, office.path("trash/abc%3Fx=2")), 400, "encode_id")
    assert api.post(office.path("trash/abc"), json={"dataType": "accounts"}).status_code == 200


def test_reads_take_an_id_in_either_form(office: Office) -> None:
    fill(office, URL, "a b", trashed=False)
    api = office.caller("viewer")
    for raw in (URL, "a b"):
        for form in (quote(raw, safe=""), encode_id(raw)):
            assert api.get(f"/api/v1/posts/{form}").json()["data"]["id"] == encode_id(raw)


def test_a_plain_id_in_encoded_form_is_not_the_form_in_which_answers_give_it(office: Office) -> None:
    fill(office, "abc", trashed=False)
    form = "~" + urlsafe_b64encode(b"abc").decode()
    refusal(office.caller().patch(f"/api/v1/posts/{form}", json={"caption": "mine"}), 400, "encode_id")


def test_ids_that_servers_resolve_are_given_in_encoded_form(office: Office) -> None:
    fill(office, ".", "..", trashed=False)
    api = office.caller()
    listed = {item["id"] for item in api.get("/api/v1/posts").json()["data"]}
    assert listed == {encode_id("."), encode_id("..")} == {"~Lg", "~Li4"}
    assert api.patch("/api/v1/posts/~Li4", json={"caption": "mine"}).json()["data"]["id"] == "~Li4"


def test_the_ids_that_go_on_are_found_by_their_index(office: Office) -> None:
    office.accounts("acc_1")
    office.posts("acc_1", *(f"plain-{n}" for n in range(5000)))
    office.run("ANALYZE posts")
    plan = office.run(
        "EXPLAIN SELECT EXISTS (SELECT FROM posts WHERE strpos(id::text, '?') > 0"
        " AND id::text COLLATE \"C\" >= 'abc' || '?' AND id::text COLLATE \"C\" < 'abc' || '@')"
    )
    assert "posts_cut_ids" in str(plan), plan
