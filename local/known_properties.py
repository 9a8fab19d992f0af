"""What of `template.yaml` the local stack knows: anything else would look as if it worked, and is a start error.

The properties of each type stand beside the code that uses them; here a template is held against them.
"""

import difflib
from collections.abc import Iterator
from types import EllipsisType
from typing import Any

type Known = EllipsisType | str | dict[str, Known] | list[Known]
"""What may stand in a place: `...` anything, for it is used as it is; a text anything too, and why the local stack
ignores it; a dict these properties; a list of one any number of these.
"""

_RESOURCE: dict[str, Known] = {
    "Type": ...,
    "Properties": ...,
    "Condition": ...,
    "Metadata": "for sam build and readers",
    "DeletionPolicy": "a local stack is not deleted resource by resource",
    "UpdateReplacePolicy": "no resource is replaced by an update",
    "DependsOn": "everything is created before anything runs",
}


def unknown_properties(text: str, types: dict[str, Known], events: dict[str, Known]) -> list[str]:
    """A sentence with its line for each type and property of a template that is not known, in order.

    `types` are the resources' by their type, `events` those of a function's events by theirs.
    """
    import yaml

    loader = yaml.CSafeLoader(text)
    try:
        root = loader.get_single_node()
    finally:
        loader.dispose()
    template = dict(_entries(root))
    found: list[str] = []
    if "Globals" in template:
        known: Known = {"Function": types["AWS::Serverless::Function"]}
        found += _unknown(template["Globals"][1], known, "Globals")
    for name, (_, resource) in _entries(template["Resources"][1]):
        found += _unknown(resource, _RESOURCE, name)
        parts = dict(_entries(resource))
        kind = parts["Type"][1].value
        if kind not in types and not kind.startswith("Custom::"):
            found.append(f"{_line(parts['Type'][1])}: {name}: the local stack knows no type {kind}")
            continue
        if "Properties" not in parts:
            continue
        properties = parts["Properties"][1]
        found += _unknown(properties, types.get(kind, ...), f"{name} ({kind})")
        for event, (_, declared) in _entries(dict(_entries(properties)).get("Events", (None, None))[1]):
            found += _of_event(declared, events, f"{name}.{event}")
    return found


def _of_event(event: Any, events: dict[str, Known], where: str) -> Iterator[str]:
    yield from _unknown(event, {"Type": ..., "Properties": ...}, where)
    parts = dict(_entries(event))
    kind = parts["Type"][1].value
    if kind not in events:
        yield f"{_line(parts['Type'][1])}: {where}: the local stack knows no event of type {kind}"
    elif "Properties" in parts:
        yield from _unknown(parts["Properties"][1], events[kind], f"{where} ({kind})")


def _unknown(node: Any, known: Known, where: str) -> Iterator[str]:
    if isinstance(known, EllipsisType | str):
        return
    written = [*_entries(node)]
    if node.tag == "!If" or [name for name, _ in written] == ["Fn::If"]:
        for branch in (node if node.tag == "!If" else written[0][1][1]).value[1:]:
            yield from _unknown(branch, known, where)
    elif len(written) == 1 and written[0][0].startswith(("Fn::", "Ref")):
        return  # a value from elsewhere
    elif isinstance(known, list):
        for item in node.value if node.id == "sequence" else ():
            yield from _unknown(item, known[0], where)
    else:
        for name, (key, value) in written:
            if name in known:
                yield from _unknown(value, known[name], f"{where}.{name}")
            else:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"; is it {close[0]}?" if close else ""
                yield f"{_line(key)}: {where}: the local stack knows no property {name}{hint}"


def _entries(node: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The name, the node of the name and the value's of each entry of a mapping; of anything else nothing.

    A reference to something else (`!Ref`) is no mapping; what a merge key (`<<`) brings in is part of it.
    """
    if node is None or node.id != "mapping":
        return
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            for merged in value.value if value.id == "sequence" else [value]:
                yield from _entries(merged)
        else:
            yield key.value, (key, value)


def _line(node: Any) -> str:
    return f"line {node.start_mark.line + 1}"
