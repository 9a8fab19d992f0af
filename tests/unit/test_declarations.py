"""Declarations in TOML: what each line means, and how a mistake is told."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from stowage.entities.building import build, module_of, read_folder
from stowage.entities.declaration import DATABASE, Entity, Trash
from stowage.entities.declared import Entities
from stowage.entities.language import DeclarationError, read_declarations, singular_of
from stowage.entities.positions import line_of
from stowage.entities.types import read_type
from tests.conftest import ROOT

THINGS = """\
[things]
key = "id text stowage"
label = "name"
created = "created_at"
updated = "updated_at"
trash = "deleted_at"
[things.fields]
name = "varchar(40) not null"
size = { type = "int not null", default = 1, minimum = 0, maximum = 9 }
color = { type = "text", values = ["red", "green"] }
madeBy = { type = "text", references = "makers", onDelete = "restrict" }

[makers]
key = "id text stowage"
created = "created_at"
updated = "updated_at"
[makers.fields]
name = "text not null"
"""


KEY = '[things]\nkey = "id text stowage"'
KEY_OF = '[things]\nkey = { column = "id", maker = "client", type ='


def declared(text: str) -> Entities:
    return Entities(read_declarations({"tables.toml": text}))


def mistakes(text: str) -> list[str]:
    with pytest.raises(DeclarationError) as raised:
        read_declarations({"tables.toml": text})
    return str(raised.value).split("\n")


def changed(old: str, new: str) -> str:
    assert THINGS.count(old) == 1, old
    return THINGS.replace(old, new)


def test_a_declaration_becomes_an_entity() -> None:
    things = declared(THINGS)["things"]
    assert (things.singular, things.table, things.label, things.soft_delete) == ("thing", "things", "name", True)
    assert [(field.name, field.column, field.type) for field in things.fields] == [
        ("id", "id", "text"),
        ("name", "name", "text"),
        ("size", "size", "integer"),
        ("color", "color", "text"),
        ("madeBy", "made_by", "text"),
        ("createdAt", "created_at", "timestamp"),
        ("updatedAt", "updated_at", "timestamp"),
    ]
    size, color = things.own[1:3]
    assert (size.required, size.default, size.is_nullable) == (False, 1, False)
    assert (color.required, color.default, color.values) == (False, None, ("red", "green"))
    assert [(reference.field, reference.entity) for reference in things.references] == [("madeBy", "makers")]


def test_an_entity_is_made_at_its_first_use() -> None:
    entities = declared(THINGS)
    assert entities._made == {}
    assert entities["makers"] is entities["makers"]
    assert list(entities._made) == ["makers"]
    assert all(isinstance(each, Entity) for each in entities.values())


@pytest.mark.parametrize(
    ("said", "trash"),
    [
        ('"discarded_at"', Trash("discarded_at")),
        ('{ flag = "is_deleted" }', Trash("is_deleted", is_flag=True)),
        ('{ flag = "isDeleted", nullable = true }', Trash("isDeleted", is_flag=True, may_be_null=True)),
    ],
)
def test_a_trash_is_a_moment_or_a_flag(said: str, trash: Trash) -> None:
    assert declared(changed('trash = "deleted_at"', f"trash = {said}"))["things"].trash == trash


def test_columns_of_a_key_and_of_times_may_have_any_name() -> None:
    """The long form says a name with spaces."""
    toml = changed(KEY, "[things]\nkey = { column = 'the \"key\" %', type = 'bigint', maker = 'client' }")
    toml = toml.replace('trash = "deleted_at"', 'trash = "gone at"')
    toml = toml.replace('"updated_at"', '{ column = "changed at", type = "timestamp" }')
    [literal, _] = read_declarations({"tables.toml": toml}).values()
    assert (literal["key"], literal["maker"]) == ((('the "key" %', "bigint"),), "client")
    assert literal["updated"] == ("changed at", "timestamp without time zone")
    assert literal["trash"] == ("gone at", "moment")


def test_a_trash_makes_an_entity_part_of_the_dashboard_unless_it_says_no() -> None:
    entities = declared(THINGS)
    assert (entities["things"].dashboard, entities["makers"].dashboard) == (True, False)
    assert not declared(changed("trash =", "dashboard = false\ntrash ="))["things"].dashboard


def test_hidden_fields_are_nowhere_and_those_that_only_the_database_writes_are_read() -> None:
    hidden = declared(changed('color = { type = "text",', 'color = { hidden = true, type = "text",'))["things"]
    assert hidden.field("color") is None
    read = declared(changed('color = { type = "text",', 'color = { readOnly = true, type = "text",'))["things"]
    assert [field.name for field in read.own if field.is_read_only] == ["color"]


def test_a_default_of_the_database_is_left_to_it() -> None:
    filled = declared(changed("default = 1,", "databaseDefault = true,"))["things"].field("size")
    assert filled is not None
    assert (filled.required, filled.default) == (False, DATABASE)


def test_a_type_that_stowage_does_not_know_is_another_ones() -> None:
    tags = declared(changed('color = { type = "text", values = ["red", "green"] }', 'tags = "hstore[]"'))
    field = tags["things"].field("tags")
    assert field is not None
    assert (field.type, field.is_array, field.sql_type, field.is_read_only) == ("other", True, "hstore[]", False)


def test_an_exact_number_has_its_digits() -> None:
    total = declared(changed('color = { type = "text", values = ["red", "green"] }', 'total = "numeric(12,2)"'))
    field = total["things"].field("total")
    assert field is not None
    assert (field.type, field.precision, field.scale) == ("numeric", 12, 2)


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ('label = "name"', 'lable = "name"', 3, "things.lable: unknown; the keys here are table, schema"),
        ('label = "name"', 'label = "nmae"', 3, "things.label: there is no field 'nmae'"),
        ('label = "name"', "label = 7", 3, "things.label: expected a text"),
        ('label = "name"', 'label = "name"\nsearch = ["nmae"]', 4, "things.search: there is no field 'nmae'"),
        ('label = "name"', 'label = "name"\nsearch = "name"', 4, "things.search: expected a list of texts"),
        ('label = "name"', 'label = "name"\nfilters = ["name", "name"]', 4, "things.filters: one stands there twice"),
        ('label = "name"', 'label = "name"\nunique = ["name"]', 4, "things.unique: expected a list of texts"),
        ('label = "name"', 'label = "name"\nunique = [["nmae"]]', 4, "things.unique: there is no field 'nmae'"),
        ('label = "name"', 'label = "name"\nsingular = "maker"', 14, "makers.singular: 'maker' names"),
        ('label = "name"', 'label = "name"\nsingular = "webhook"', 4, "things.singular: 'webhook' is a word"),
        ('label = "name"', 'label = "name"\nreassign = { to = "name" }', 4, "'name' is no field that refers"),
        ('label = "name"', 'label = "name"\nreassign = { ids = "madeBy" }', 4, "things.reassign.ids: expected a name"),
        ('label = "name"', 'label = "name"\nschema = "public"', 4, "things.schema: a table in another schema has both"),
        ('label = "name"', 'label = "name"\ngdpr = "no"', 4, "things.gdpr: expected true or false"),
        ('label = "name"', 'label = "name"\ntable = ""', 4, "things.table: expected 1 to 63 bytes"),
        ('label = "name"', f'label = "name"\ntable = "{"é" * 32}"', 4, "things.table: expected 1 to 63 bytes"),
        ('[things]\nkey = "id text stowage"', "[things]", 1, "things: say what the key is"),
        ('[things]\nkey = "id text stowage"', '[things]\nkey = "id"', 2, "things.key: expected a column, its type"),
        ('[things]\nkey = "id text stowage"', '[things]\nkey = "id text"', 2, "things.key: say who makes it"),
        ('[things]\nkey = "id text stowage"', '[things]\nkey = "id int stowage"', 2, "things.key: Stowage makes no"),
        ('[things]\nkey = "id text stowage"', '[things]\nkey = "name text client"', 8, "id is in the column 'name'"),
        ('trash = "deleted_at"', 'trash = "name"', 8, "things.fields.name: the trash is in the column 'name' already"),
        ('trash = "deleted_at"', 'trash = "created_at"', 6, "things.trash: createdAt is in the column 'created_at'"),
        (KEY, '[things]\nkey = "stw_n text client"', 2, "things.key: 'stw_n' may not begin"),
        ('trash = "deleted_at"', 'trash = "stw_mark"', 6, "things.trash: 'stw_mark' may not begin with stw_"),
        ('"name"\ncreated = "created_at"', '"name"\ncreated = "stw_now"', 4, "things.created: 'stw_now' may not"),
        ('"varchar(40) not null"', '{ type = "text", column = "stw_row" }', 8, "things.fields.name: 'stw_row' may not"),
        ('trash = "deleted_at"', "trash = true", 6, "things.trash: expected a column"),
        ('trash = "deleted_at"', 'trash = { falg = "x" }', 6, "things.trash.falg: unknown; the keys here are flag"),
        ('trash = "deleted_at"', 'trash = { flag = "x", nullable = 1 }', 6, "things.trash.nullable: expected true or"),
        ('trash = "deleted_at"', "dashboard = true", 6, "things.dashboard: the dashboard shows what has a trash"),
        ('"varchar(40) not null"', '"varchar(40) nott null"', 8, "things.fields.name.type: 'varchar(40) nott null'"),
        ('"varchar(40) not null"', "7", 8, "things.fields.name: expected a type"),
        ('"varchar(40) not null"', '{ column = "name" }', 8, "things.fields.name: expected a type"),
        ("name = \"varchar(40)", "name = \"text[](40)", 8, "things.fields.name.type: 'text[](40) not null' is no type"),
        ("default = 1", 'default = "1"', 9, "things.fields.size.default: it is not a value that the field may have"),
        ("default = 1", "default = true", 9, "things.fields.size.default: it is not a value that the field may have"),
        ("minimum = 0", 'minimum = "0"', 9, "things.fields.size.minimum: expected a number"),
        ("minimum = 0", "minLength = 0", 9, "things.fields.size.minLength: texts have it, and it is integer"),
        ("minimum = 0", "min = 0", 9, "things.fields.size.min: unknown; the keys here are column, type"),
        ('values = ["red", "green"]', "values = []", 10, "things.fields.color.values: expected a list of texts"),
        ('values = ["red", "green"]', 'values = ["red"], default = "blue"', 10, "things.fields.color.default: it is"),
        ('values = ["red", "green"]', "hidden = 1", 10, "things.fields.color.hidden: expected true or false"),
        ('values = ["red", "green"]', 'column = "name"', 10, "things.fields.color: name is in the column 'name'"),
        ("color = {", "createdAt = {", 10, "things.fields.createdAt: 'createdAt' is a word of Stowage's own"),
        ("color = {", "limit = {", 10, "things.fields.limit: 'limit' is a word of Stowage's own"),
        ("color = {", '"the color" = {', 10, "things.fields.the color: a field's name is letters"),
        ('references = "makers"', 'references = "makres"', 11, "there is no entity 'makres' that it could refer to"),
        ('"text", references', '"int", references', 11, "things.fields.madeBy.type: it is integer, and the key of"),
        ('onDelete = "restrict"', 'onDelete = "retsrict"', 11, "things.fields.madeBy.onDelete: say what deleting"),
        ('onDelete = "restrict"', 'onDelete = "keep", filters = ["nmae"]', 11, "makers have no field 'nmae'"),
        ('onDelete = "restrict"', 'onDelete = "keep", filters = ["name"]', 11, "have a field 'name' of their own"),
        (', references = "makers"', "", 11, "things.fields.madeBy: say which entity it refers to"),
        ('trash = "deleted_at"', 'trash = "deleted_at"\npurgeDays = 0', 7, "purgeDays: expected 1 to 36,500 days"),
        ('trash = "deleted_at"', 'trash = "deleted_at"\npurgeDays = "30"', 7, "purgeDays: expected a number of days"),
        ('trash = "deleted_at"', "purgeDays = 30", 6, "things have no trash from which something could go"),
        (KEY, f'{KEY_OF} "text", references = "x", onDelete = "keep" }}', 2, "there is no entity 'x'"),
        (KEY, f'{KEY_OF} "uuid", references = "makers", onDelete = "keep" }}', 2, "it is uuid, and the key of makers"),
        (KEY, f'{KEY_OF} "text", references = "makers" }}', 2, "things.key.onDelete: say what deleting"),
        (KEY, f'{KEY_OF} "text", references = "makers" }}, "n text client"]'.replace("= {", "= [{"), 2,
         "a key of several columns refers to nothing"),
        ("[makers]", '[makers]\ntable = "things"', 14, "makers.table: things is of the table 'things' already"),
        ('[makers]\nkey = "id text stowage"', '[makers]\nkey = ["a int client", "b int client"]', 11, "several"),
        ('onDelete = "restrict" }', 'onDelete = "restrict", agrees = ["size"] }', 11, "both have a field 'size'"),
        ('trash = "deleted_at"', 'trash = "deleted_at"\nreadOnly = true', 6, "they are only read, so"),
        ('key = "id text stowage"\nlabel', 'key = ["a int client", "b int client"]\nlabel', 6, "so they have no trash"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(old: str, new: str, line: int, sentence: str) -> None:
    told = mistakes(changed(old, new))
    assert any(each.startswith(f"tables.toml:{line}: ") and sentence in each for each in told), told


def test_every_mistake_is_told_by_its_place() -> None:
    wrong = (
        changed('label = "name"', 'lable = "name"').replace("makers]", "makers ]").replace('"text not null"', '"txet("')
    )
    assert [each.partition(": ")[0] for each in mistakes(wrong)] == ["tables.toml:3", "tables.toml:18"]


@pytest.mark.parametrize(
    "name", ["import", "bulk", "webhooks", "gdpr", "audit", "entities", "Things", "a-b", "ä", "2nd"]
)
def test_an_entity_has_no_name_that_the_api_has_or_a_path_cannot_hold(name: str) -> None:
    [told] = mistakes(f'["{name}"]\nkey = "id text client"')
    assert told.startswith(f"tables.toml:1: {name}: ")


def test_what_is_no_toml_is_told_with_its_line() -> None:
    assert mistakes('[things]\nkey = "id\n')[0].startswith("tables.toml:2: this is no TOML")
    assert mistakes("[things]\n\n[things]\n")[0].startswith("tables.toml:3: this is no TOML")
    assert mistakes("things = 3") == ["tables.toml:1: things: expected a table of this entity, such as [posts]; "
                                      "every key stands within one"]  # fmt: skip


def test_two_files_are_one_declaration() -> None:
    first, second = THINGS.split("\n\n")
    assert list(read_declarations({"a.toml": first, "b.toml": second})) == ["things", "makers"]
    with pytest.raises(DeclarationError, match=r"b.toml:1: makers: makers is declared already, in a.toml"):
        read_declarations({"a.toml": THINGS, "b.toml": second})


@pytest.mark.parametrize(
    ("lines", "lacking"),
    [
        ('key = "id numeric client"', "a key of type numeric"),
        ('schema = "public"\nwhere = { tenant = "slug" }', "a shared table whose column does not hold the tenant's id"),
    ],
)
def test_what_stowage_cannot_do_yet_is_said_and_such_an_entity_serves_nobody(lines: str, lacking: str) -> None:
    key = "" if "key" in lines else 'key = "id text client"\n'
    things, _ = changed(', references = "makers", onDelete = "restrict"', "").split("[makers]")
    entities = declared(f"[others]\n{key}{lines}\n{things}")
    assert lacking in entities.unable["others"]
    assert list(entities) == ["things"]


def test_nothing_refers_to_an_entity_that_serves_nobody() -> None:
    numeric = changed('[makers]\nkey = "id text stowage"', '[makers]\nkey = "id numeric client"')
    entities = declared(numeric.replace('madeBy = { type = "text"', 'madeBy = { type = "numeric"'))
    assert list(entities.unable) == ["makers"]
    assert entities["things"].references == ()


def test_what_is_only_read_says_why() -> None:
    entities = declared("""
[links]
key = ["a int client", "b text client"]
[links.fields]
a = "int not null"
[shown]
key = "day date client"
readOnly = true
""")
    assert entities["links"].why_only_read == "their key has several columns"
    assert [field.name for field in entities["links"].fields] == ["id", "a"]
    assert entities["shown"].why_only_read == "their declaration says readOnly"
    assert declared(THINGS)["things"].why_only_read == ""


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ('["1", "x"]', '["1", "x"]'), ('["1","x"]', '["1", "x"]'), ('["-2", "\\u00e4\\n\\""]', '["-2", "ä\\n\\""]'),
        ('["01", "x"]', None), ('["1", "x", "y"]', None), ('["1"]', None), ('[1, "x"]', None), ("1,x", None),
        ('["1", "\\u0000"]', None), ('["1", "\\ud800"]', None), ('{"a": "1"}', None), ("", None), ("null", None),
        ("[" * 100_000, None), ('["1", ""]', '["1", ""]'),
    ],
)  # fmt: skip
def test_an_id_of_several_columns_is_one_text(raw: str, read: str | None) -> None:
    links = declared('[links]\nkey = ["a int client", "b text client"]\n')["links"]
    assert links.key.read(raw) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("varchar(9)", "character varying(9)"), ("VARCHAR ( 9 )", "character varying(9)"), ("int4", "integer"),
        ("numeric( 12 , 2 )", "numeric(12,2)"), ("timestamptz", "timestamp with time zone"), ("serial", "integer"),
        ("timestamp(3)", "timestamp(3) without time zone"), ("timestamptz(3)", "timestamp(3) with time zone"),
        ("timestamp(3) with time zone", "timestamp(3) with time zone"), ("text[][]", "text[]"), ("int[]", "integer[]"),
        ('"DocumentStatus"', '"DocumentStatus"'), ('public."X y"', 'public."X y"'), ("vector(3)", "vector(3)"),
        ("numeric(10,-2)", "numeric(10,-2)"), ("interval day to second", "interval day to second"), ("", None),
        ("bigint not nul", None), ("text; DROP TABLE x", None), ("text)", None), ("a b", None), ("9text", None),
    ],
)  # fmt: skip
def test_a_type_may_be_written_in_every_way_that_postgres_has(written: str, read: str | None) -> None:
    found = read_type(written)
    assert (found and found.text) == read


@pytest.mark.parametrize(
    ("plural", "singular"),
    [("posts", "post"), ("companies", "company"), ("addresses", "address"), ("statuses", "statuse"), ("news", "new"),
     ("boxes", "box"), ("batches", "batch"), ("staff", "staff"), ("glass", "glass"), ("s", "s"), ("es", "es")],
)  # fmt: skip
def test_the_singular_is_guessed(plural: str, singular: str) -> None:
    assert singular_of(plural) == singular


def test_a_key_is_found_wherever_toml_lets_it_stand() -> None:
    text = dedent('''\
        # [posts] is not here
        note = """
        [posts]
        label = "x" """

        [posts]   # here
          "label"   = [
            "a",
          ]
        fields.title = "text"
        [posts.fields.body]
        type = "text"
        ''')  # fmt: skip
    assert line_of(text, ("posts",)) == 6
    assert line_of(text, ("posts", "label")) == 7
    assert line_of(text, ("posts", "fields", "title")) == 10
    assert line_of(text, ("posts", "fields", "body", "type")) == 12
    assert line_of(text, ("posts", "fields", "body", "column")) == 11
    assert line_of(text, ("posts", "missing")) == 6


def test_the_module_of_the_repository_is_what_its_declarations_say() -> None:
    """`make entities` writes it."""
    folder = ROOT / "layers" / "entities"
    assert (folder / "stowage_entities" / "__init__.py").read_text() == module_of(read_folder(folder))


def test_the_command_builds_a_package_or_tells_the_mistakes(tmp_path: Path) -> None:
    def command() -> "subprocess.CompletedProcess[str]":
        run = [sys.executable, "-m", "stowage.entities", "build", str(tmp_path), "--to", str(tmp_path / "built")]
        return subprocess.run(run, check=False, capture_output=True, text=True, cwd=ROOT / "layers" / "stowage")

    assert (command().returncode, command().stderr) == (1, f"error: There is no declaration (*.toml) in {tmp_path}.\n")
    (tmp_path / "tables.toml").write_text(THINGS.replace('label = "name"', 'label = "nmae"'))
    failed = command()
    assert (failed.returncode, failed.stderr[:32]) == (1, "tables.toml:3: things.label: the")
    assert not (tmp_path / "built").exists()
    (tmp_path / "tables.toml").write_text(THINGS)
    assert (command().returncode, command().stderr) == (0, "")
    assert not build(tmp_path, tmp_path / "built"), "it is there already"
    given: dict[str, object] = {}
    exec((tmp_path / "built" / "__init__.py").read_text(), given)
    assert given["DECLARED"] == read_declarations({"tables.toml": THINGS})
