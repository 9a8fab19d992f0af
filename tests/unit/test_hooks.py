"""Hooks: what the build says of mistakes in `hooks.py`, and what becomes of a record that they judge."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stowage.basics.errors import BadRequestError, MisconfiguredError
from stowage.basics.json_numbers import read_json, write_json
from stowage.entities import hooks
from stowage.entities.building import build
from stowage.entities.checking import check
from stowage.entities.declaration import Entity
from stowage.entities.declared import ENTITIES, make_entity
from stowage.entities.language import DeclarationError, read_declarations
from stowage.imports.files.columns import Naming
from stowage.imports.files.preparing import Batch, Preparer
from stowage.records.bodies import read_items
from stowage.records.hooks import hooked, hooked_items
from stowage.records.models import changed_record, changed_records, new_record

TABLES = """
[things]
key = "id text stowage"
[things.fields]
name = { type = "varchar(10) not null", hook = "tidy" }
slug = { type = "text not null", hook = "slug_of" }
size = { type = "integer", hook = "halve" }
bill = { type = "jsonb", hook = "add_up" }
"""
HOOKS = """
def tidy(value, record):
    if value == "bad":
        raise ValueError("is a word that we do not take")
    return value.strip() if value else value

def slug_of(value, record):
    return record["name"].lower().replace(" ", "-") if "name" in record else value

def halve(value, record):
    return 10 // value * 2 if value is not None else None

def add_up(value, record):
    return value
"""


@pytest.fixture
def entity(monkeypatch: pytest.MonkeyPatch) -> Entity:
    """The entity with the hooks as the build packs them."""
    load(monkeypatch, HOOKS)
    literals = read_declarations({"tables.toml": TABLES})
    return make_entity("things", literals["things"], literals)


def load(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    module = ModuleType(hooks.MODULE)
    exec(text, vars(module))
    monkeypatch.setitem(sys.modules, hooks.MODULE, module)


def made(entity: Entity, **fields: Any) -> Mapping[str, Any]:
    return hooked(entity, new_record(entity).validate_python(fields), is_new=True)


def refused(entity: Entity, **fields: Any) -> list[Any]:
    with pytest.raises(BadRequestError) as caught:
        made(entity, **fields)
    assert caught.value.details is not None
    return [(each["field"], each["message"]) for each in caught.value.details]


def test_a_hook_changes_what_is_given_and_computes_what_is_not(entity: Entity) -> None:
    assert made(entity, name=" A thing ", size=2) == {"name": "A thing", "slug": "-a-thing-", "size": 10}
    assert made(entity, name="A", size=None) == {"name": "A", "slug": "a", "size": None}


def test_a_change_runs_them_over_what_is_given_alone(entity: Entity) -> None:
    def change(**fields: Any) -> Mapping[str, Any]:
        return hooked(entity, changed_record(entity).validate_python(fields), is_new=False)

    assert change(name="B c") == {"name": "B c", "slug": "b-c"}
    assert change(size=5) == {"size": 4}
    assert change(slug="own") == {"slug": "own"}


def test_what_they_refuse_is_told_by_field_in_their_words_and_so_is_what_they_get_wrong(entity: Entity) -> None:
    assert refused(entity, name="bad") == [("name", "is a word that we do not take")]
    assert refused(entity, name="x", size=0) == [("size", "its hook halve failed (ZeroDivisionError)")]


@pytest.mark.parametrize(
    ("does", "bill"),
    [
        ("value", '{"price":12.50,"rate":0.5,"items":[1e400,123456789012345678901.5,7]}'),
        ("value | {'sum': value['price'] * value['rate'] + 1}", '"sum":7.25}'),
        ("{'sum': round(value['price']), 'less': value['price'] < 13, 'most': max(value['price'], 3)}",
         '{"sum":12,"less":true,"most":12.50}'),
        ("sum([value['price'], value['price'] / 2, -value['price'] // 1])", "5.75"),
        ("{'is': isinstance(value['price'], float), 'text': f\"{value['price']:.1f}\"}", '{"is":true,"text":"12.5"}'),
        ("record['bill']['items'][1]", "123456789012345678901.5"),
        ("(__import__('decimal').Decimal('0.10') * 3, value['price'])", "[0.30,12.50]"),
    ],
)  # fmt: skip
def test_numbers_of_json_are_numbers_to_a_hook_and_keep_their_digits(
    entity: Entity, monkeypatch: pytest.MonkeyPatch, does: str, bill: str
) -> None:
    load(monkeypatch, f"{HOOKS}\ndef add_up(value, record): return {does}")
    given = read_json(b'{"price": 12.50, "rate": 0.5, "items": [1e400, 123456789012345678901.5, 7]}')
    assert write_json(made(entity, name="x", bill=given)["bill"]).endswith(bill)


@pytest.mark.parametrize(
    ("text", "field", "told"),
    [
        ("def add_up(value, record): return {'x': float('nan')}", "bill", "its hook add_up gives something else:"),
        ("def tidy(value, record): return 7", "name", "its hook tidy gives something else: expected a text"),
        ("def tidy(value, record): return None", "name", "its hook tidy gives something else:"),
        ("def tidy(value, record): return 'x' * 11", "name", "its hook tidy gives something else:"),
        ("def slug_of(value, record): return None", "slug", "is required"),
        ("def slug_of(value, record): record['name'] = 1", "slug", "its hook slug_of failed (TypeError)"),
        ("def halve(value, record): return 2**31", "size", "its hook halve gives something else:"),
        ("def halve(value, record): raise ValueError", "size", "is not as it must be"),
        ("def halve(value, record): raise KeyError(value)", "size", "its hook halve failed (KeyError)"),
    ],
)
def test_a_hook_that_is_wrong_refuses_its_field_and_never_the_request(
    entity: Entity, monkeypatch: pytest.MonkeyPatch, text: str, field: str, told: str
) -> None:
    load(monkeypatch, f"{HOOKS}\n{text}")
    [(name, message)] = refused(entity, name="x", size=1)
    assert (name, message[: len(told)]) == (field, told)


def test_of_many_items_only_those_that_they_refuse_fail(entity: Entity) -> None:
    raw = b'{"updates": [{"id": "a", "name": "x"}, {"id": "b", "name": "bad"}, {"id": "c", "size": true}]}'
    items = hooked_items(entity, read_items(changed_records(entity), raw, "updates", ("id",)), is_new=False)
    assert items.valid == [(0, {"id": "a", "name": "x", "slug": "x"})]
    assert items.invalid[1] == [{"field": "updates[1].name", "message": "is a word that we do not take"}]
    assert (items.total, sorted(items.invalid)) == (3, [1, 2])


def test_rows_of_a_file_go_through_them(entity: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENTITIES._made, "things", entity)
    monkeypatch.setitem(ENTITIES._literals, "things", {})
    preparer = Preparer(entity, "run", "ndjson", None, Naming(entity, {}))
    rows = [{"name": " One ", "size": 3}, {"name": "bad"}, {"name": "Two"}]
    batch = Batch(0, [*enumerate(rows)], 0, 0, 0, True, None)
    prepared = preparer.prepare(batch)
    assert prepared.failures == {2: ("invalid", "name: is a word that we do not take")}
    assert prepared.records == {1: {"name": "One", "slug": "-one-", "size": 6}, 3: {"name": "Two", "slug": "two"}}
    assert "slug" in prepared.columns


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (None, 1, "there is no such file, and things.fields.name.hook names a hook of it"),
        ("def tidy(value, record:\n    pass", 1, ""),
        ("x = 1\nimport nothing_like_it", 2, "it cannot be loaded: ModuleNotFoundError: No module named"),
        ("x = 1\n\n1 / 0", 3, "it cannot be loaded: ZeroDivisionError"),
        (HOOKS.replace("def tidy", "def tidied"), 1, "things.fields.name.hook: there is no function 'tidy'"),
        (HOOKS + "\ntidy = 7", 1, "things.fields.name.hook: 'tidy' is no plain function"),
        (HOOKS + "\nasync def tidy(value, record): ...", 1, "things.fields.name.hook: 'tidy' is no plain function"),
        (HOOKS + "\ndef tidy(value): ...", 1, "things.fields.name.hook: 'tidy' does not take (value, record)"),
        (HOOKS + "\ndef tidy(a, b, c): ...", 1, "things.fields.name.hook: 'tidy' does not take (value, record)"),
    ],
)
def test_the_build_tells_a_mistake_by_its_line_and_builds_nothing(
    tmp_path: Path, text: str | None, line: int, told: str
) -> None:
    (tmp_path / "tables.toml").write_text(TABLES)
    if text is not None:
        (tmp_path / "hooks.py").write_text(text)
    with pytest.raises(DeclarationError) as caught:
        build(tmp_path, tmp_path / "package")
    assert str(caught.value.mistakes[0]).startswith(f"hooks.py:{line}: {told}")
    assert not (tmp_path / "package").exists()


def test_the_build_packs_the_hooks_and_takes_away_those_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "tables.toml").write_text(TABLES)
    (tmp_path / "hooks.py").write_text(HOOKS)
    package = tmp_path / "package"
    assert build(tmp_path, package)
    assert (package / "hooks.py").read_text() == HOOKS
    assert not build(tmp_path, package)
    (tmp_path / "hooks.py").unlink()
    (tmp_path / "tables.toml").write_text(TABLES.partition("[things.fields]")[0] + '[things.fields]\nname = "text"\n')
    assert build(tmp_path, package)
    assert not (package / "hooks.py").exists()


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ('{ type = "text", hook = 7 }', "expected the name of a function in hooks.py"),
        ('{ type = "text", hook = "a.b" }', "expected the name of a function in hooks.py"),
        ('{ type = "text", hook = "_own" }', "expected the name of a function in hooks.py"),
        ('{ type = "text", hook = "tidy", readOnly = true }', "nobody writes a field that is hidden or readOnly"),
        ('{ type = "text", hook = "tidy", hidden = true }', "nobody writes a field that is hidden or readOnly"),
    ],
)
def test_a_declaration_that_cannot_mean_a_hook_is_told(field: str, told: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        read_declarations({"tables.toml": f'[things]\nkey = "id text stowage"\n[things.fields]\nname = {field}\n'})
    assert f"tables.toml:4: things.fields.name.hook: {told}" in str(caught.value)


def test_hooks_that_cannot_be_loaded_where_they_run_are_told_by_check_and_by_requests(
    entity: Entity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, hooks.MODULE)
    findings = check(read_declarations({"tables.toml": TABLES}), [], [])
    assert "name: hooks.py cannot be loaded (ModuleNotFoundError)." in [each.sentence for each in findings]
    with pytest.raises(MisconfiguredError, match=r"hooks\.py cannot be loaded") as caught:
        made(entity, name="x")
    assert caught.value.code == "hooks_broken"
