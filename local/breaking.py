"""`make breaking`: what breaks clients between the API's released document and the present one.

A request may only take more than before, an answer may only vary less: every other difference is
named, a line each. CONTRIBUTING.md says how an intended one is accepted.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

type Json = Any

ROOT = Path(__file__).parent.parent
RELEASED = ROOT / "docs/openapi.released.json"
PRESENT = ROOT / "docs/openapi.json"
AT_MOST = ("maximum", "maxLength", "maxItems")
AT_LEAST = ("minimum", "minLength", "minItems")
TAKES, ANSWERS = "no longer takes", "may now be"


def breaks(old: Json, new: Json) -> Iterator[str]:
    """Each difference between two OpenAPI documents that may break a client of the old one."""
    old, new = _inlined(old, old, {}), _inlined(new, new, {})
    for path, operations in old["paths"].items():
        for method, was in operations.items():
            now = new["paths"].get(path, {}).get(method)
            found = [": the route is gone"] if now is None else _of_operation(was, now)
            yield from dict.fromkeys(f"{method.upper()} {path}{each}" for each in found)


def _inlined(part: Json, document: Json, known: dict[str, Json]) -> Json:
    """The same with the parts that references name in their places; none of ours names itself."""
    match part:
        case {"$ref": str(reference)}:
            if reference not in known:
                found = document
                for name in reference.removeprefix("#/").split("/"):
                    found = found[name]
                known[reference] = _inlined(found, document, known)
            return known[reference]
        case dict():
            return {name: _inlined(inner, document, known) for name, inner in part.items()}
        case list():
            return [_inlined(inner, document, known) for inner in part]
    return part


def _of_operation(was: Json, now: Json) -> Iterator[str]:
    if _is_open(was) and not _is_open(now):
        yield ": needs credentials"
    before, after = ({f" {one['in']} {one['name']}": one for one in each["parameters"]} for each in (was, now))
    yield from (f"{name}: is gone" for name in before if name not in after)
    for name, parameter in after.items():
        if parameter["required"] and not before.get(name, {}).get("required"):
            yield f"{name}: is required"
        if name in before:
            yield from _excess(before[name]["schema"], parameter["schema"], name, TAKES)
    body, taken = was.get("requestBody", {}), now.get("requestBody", {})
    if taken.get("required") and not body.get("required"):
        yield " body: is required"
    yield from _of_contents(body, taken, " body", TAKES)
    for status, answer in was["responses"].items():
        given = now["responses"].get(status)
        if given is None:
            yield f" {status}: the status is gone"
            continue
        always = (name for name, header in answer.get("headers", {}).items() if header["required"])
        sure = [name for name, header in given.get("headers", {}).items() if header["required"]]
        yield from (f" {status}: the header {name} may be missing" for name in always if name not in sure)
        yield from _of_contents(answer, given, f" {status}", ANSWERS)
    added = now["responses"].keys() - was["responses"].keys()
    yield from (f" {status}: a new status" for status in sorted(added) if status < "400")


def _is_open(operation: Json) -> bool:
    return not operation["security"] or {} in operation["security"]


def _of_contents(was: Json, now: Json, where: str, says: str) -> Iterator[str]:
    after = now.get("content", {})
    for kind, content in was.get("content", {}).items():
        if kind not in after:
            yield f"{where}: is no longer {kind}"
        elif says == TAKES:
            yield from _excess(content["schema"], after[kind]["schema"], where, says)
        else:
            yield from _excess(after[kind]["schema"], content["schema"], where, says)


def _excess(some: Json, allowed: Json, where: str, says: str) -> Iterator[str]:
    """What the first schema lets through and the second does not.

    Of a request the second is the present schema, of an answer the released one; an answer may have more properties.
    """
    choices, others = _choices(some), _choices(allowed)
    if len(choices) > 1 or len(others) > 1:
        for choice in choices:
            tried = [(_kind(other) != _kind(choice), [*_excess(choice, other, where, says)]) for other in others]
            is_alien, found = min(tried, key=lambda each: (bool(each[1]), each[0], len(each[1])))
            yield from [f"{where}: {says} {_kind(choice)}"] if found and is_alien else found
        return
    if "type" in allowed and _kind(some) not in (allowed["type"], *(["integer"] if _kind(allowed) == "number" else [])):
        yield f"{where}: {says} {_kind(some)}"
        return
    if (values := _values(allowed)) is not None:
        yield from (f"{where}: {says} {value}" for value in _values(some) or ["anything else"] if value not in values)
    for name in (*AT_MOST, *AT_LEAST, "pattern", "format"):
        if name in allowed and _values(some) is None and _is_stricter(name, allowed[name], some.get(name)):
            yield f"{where}: {says} {name} {some.get(name, 'unlimited')}"
    if "items" in allowed:
        yield from _excess(some.get("items", {}), allowed["items"], f"{where}[]", says)
    yield from _of_object(some, allowed, where, says)


def _of_object(some: Json, allowed: Json, where: str, says: str) -> Iterator[str]:
    inner, outer = some.get("properties", {}), allowed.get("properties", {})
    released, present = (inner, outer) if says == TAKES else (outer, inner)
    further = allowed.get("additionalProperties", False)
    for name in released:
        if name in present:
            yield from _excess(inner[name], outer[name], f"{where}.{name}", says)
        elif says == TAKES and isinstance(further, dict):
            yield from _excess(inner[name], further, f"{where}.{name}", says)
        elif says == ANSWERS or not further:
            yield f"{where}.{name}: is gone"
    for name in allowed.get("required", []):
        if name not in some.get("required", []) and name in present:
            yield f"{where}.{name}: " + ("is required" if says == TAKES else "may be missing")
    rest = some.get("additionalProperties", False)
    if rest is not False and isinstance(further, dict):
        yield from _excess(rest if isinstance(rest, dict) else {}, further, f"{where}.*", says)


def _choices(schema: Json) -> list[Json]:
    if isinstance(schema.get("type"), list):
        return [schema | {"type": each} for each in schema["type"]]
    return [one for each in schema["anyOf"] for one in _choices(each)] if "anyOf" in schema else [schema]


def _kind(schema: Json) -> str:
    return str(schema.get("type", "anything"))


def _values(schema: Json) -> list[Json] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _is_stricter(name: str, limit: Json, other: Json) -> bool:
    if other is None or name not in AT_MOST + AT_LEAST:
        return bool(other != limit)
    return bool(other > limit if name in AT_MOST else other < limit)


def _without_prose(part: Json) -> Json:
    prose = {name for name in ("summary", "description") if isinstance(part.get(name), str)}
    return {
        name: inner for name, inner in part.items() if name not in prose | ({"example"} if "schema" in part else set())
    }


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(prog="python -m local.breaking", description=__doc__)
    made.add_argument("old", nargs="?", type=Path, default=RELEASED, help="the released document")
    made.add_argument("new", nargs="?", type=Path, default=PRESENT, help="the present document")
    made.add_argument("--release", action="store_true", help="take the present document as the released one")
    return made


def main() -> int:
    """Compare, or with `--release` take the present document as the released one; 1 where something breaks."""
    given = parser().parse_args()
    if given.release:
        RELEASED.write_text(json.dumps(json.loads(given.new.read_text(), object_hook=_without_prose)) + "\n")
        return 0
    found = [*breaks(json.loads(given.old.read_text()), json.loads(given.new.read_text()))]
    print("\n".join(found) or "Nothing breaks clients.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
