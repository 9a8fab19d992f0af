"""Which of the product's definitions a handler can reach, found without running anything.

The walk follows names: a definition reaches whatever its body mentions, imports inside functions included, and
importing a module runs its top-level statements. Mentioning a function counts as calling it, and mentioning a class as
calling all of its methods, so the walk errs by finding too much. There are two exceptions, both for precision:

- what annotations mention is not followed, because an annotation calls nothing (in handlers it is: Powertools builds
  the parameters of a route from them);
- the caller that a route gets has one property per thing that a handler may want, so each counts only where it is used.

Code that is named in a text (`"module:function"`) is reached by whatever holds the text; what the table of kinds
names (`work="module:function"`) by the function that looks it up (`work_of`).
"""

import ast
from dataclasses import dataclass, field
from functools import cache

from tests.structure.repository import modules, parsed

CLIENTS = "stowage.aws.clients"
TABLE_CALL = "stowage.aws.table._call"
BY_MEMBER = ("stowage.entry.http.CallerContext", "stowage.entry.http.VisitorContext")
_CALLERS = {"Caller", "Visitor"}
_CALLER_MODULES = {member.rpartition(".")[0] for member in BY_MEMBER}
KINDS = "stowage.runs.kinds"

type Operation = tuple[str, str]
"""A service's client and its operation: `("s3", "head_object")`."""


@dataclass
class _Definition:
    name: str
    nodes: list[ast.AST]
    mentions: set[str] = field(default_factory=set)
    operations: set[Operation] = field(default_factory=set)
    settings: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Reach:
    """What a handler can reach: definitions of ours, names of other packages, calls of AWS, settings."""

    definitions: frozenset[str]
    outside: frozenset[str]
    operations: frozenset[Operation]
    settings: frozenset[str]

    @property
    def clients(self) -> set[str]:
        """The services that are called."""
        return {service for service, _ in self.operations}

    @property
    def speaks_sql(self) -> bool:
        """Whether anything in `stowage.postgres` can be reached, psycopg's only home."""
        return any(name.startswith("stowage.postgres") for name in self.definitions)


@cache
def reach(module: str, cut: frozenset[str] = frozenset()) -> Reach:
    """Everything that a module's definitions can reach, not going through the definitions in `cut`."""
    todo = [name for name in _definitions() if name == module or name.rpartition(".")[0] == module]
    seen: set[str] = set()
    outside: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen or name in cut:
            continue
        definition = _definitions().get(name)
        if definition is None:
            outside.add(name)
            continue
        seen.add(name)
        todo += definition.mentions
        owner = _owner(name)
        if owner != name:
            todo.append(owner)
    reached = [_definitions()[name] for name in seen]
    return Reach(
        frozenset(seen),
        frozenset(outside),
        frozenset(operation for definition in reached for operation in definition.operations),
        frozenset(setting for definition in reached for setting in definition.settings),
    )


def operations_of(name: str) -> set[Operation]:
    """The calls of AWS in one definition's own body."""
    return _definitions()[name].operations


@cache
def _definitions() -> dict[str, _Definition]:
    found: dict[str, _Definition] = {}
    for module in modules():
        found |= _read(module)
    for column, target in named_by_kinds():
        found[f"{KINDS}.{column}_of"].mentions.add(target)
    for definition in list(found.values()):
        definition.mentions = {_resolve(mention, found) for mention in definition.mentions}
    return found


@cache
def named_by_kinds() -> frozenset[tuple[str, str]]:
    """The columns of the table of kinds that name code, and what they name: `("work", "stowage.….make_export")`."""
    calls = [node for node in ast.walk(tree(KINDS)) if isinstance(node, ast.Call) and _is_kind(node.func)]
    return frozenset(
        (word.arg, word.value.value.replace(":", "."))
        for call in calls
        for word in call.keywords
        if word.arg and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str)
        if word.value.value.partition(":")[0] in modules()
    )


def _is_kind(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id == "RunKind"


def _owner(name: str) -> str:
    """The module that a name is in; the name itself where it is in none of ours."""
    owner = name
    while owner and owner not in modules():
        owner = owner.rpartition(".")[0]
    return owner or name


def tree(module: str) -> ast.Module:
    """A module's syntax."""
    return parsed(modules()[module])


def _read(module: str) -> dict[str, _Definition]:
    top = _Definition(module, [])
    found = {module: top}
    for statement in tree(module).body:
        match statement:
            case ast.ClassDef() if f"{module}.{statement.name}" in BY_MEMBER:
                members = [node for node in statement.body if isinstance(node, ast.FunctionDef)]
                found[f"{module}.{statement.name}"] = _Definition(f"{module}.{statement.name}", [])
                for member in members:
                    name = f"{module}.{statement.name}.{member.name}"
                    found[name] = _Definition(name, [member])
            case ast.FunctionDef() | ast.ClassDef():
                found[f"{module}.{statement.name}"] = _Definition(f"{module}.{statement.name}", [statement])
            case ast.Assign() | ast.AnnAssign():
                found |= {
                    f"{module}.{name}": _Definition(f"{module}.{name}", [statement]) for name in _assigned(statement)
                }
            case ast.TypeAlias():
                pass
            case ast.Import() | ast.ImportFrom():
                top.mentions |= {target for _, target in _bindings(statement, module)}
            case _:
                top.nodes.append(statement)
    imported = dict(
        binding
        for statement in tree(module).body
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for binding in _bindings(statement, module)
    )
    # Importing a module runs its top level: the modules that it imports are reached, their functions not yet.
    top.mentions = {_module_part(mention) for mention in top.mentions}
    own = {name.removeprefix(module + ".") for name in found if name != module}
    for definition in found.values():
        for node in definition.nodes:
            _note(node, definition, module, imported, own)
    return found


def _assigned(statement: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def _module_part(name: str) -> str:
    if name.split(".", maxsplit=1)[0] not in _packages():
        return name
    return _owner(name)


@cache
def _packages() -> frozenset[str]:
    return frozenset(name.split(".")[0] for name in modules())


def _bindings(statement: ast.Import | ast.ImportFrom, module: str) -> list[tuple[str, str]]:
    if isinstance(statement, ast.Import):
        return [
            (alias.asname or alias.name.split(".")[0], alias.name if alias.asname else alias.name.split(".")[0])
            for alias in statement.names
        ]
    assert statement.level == 0, f"{module}: imports are absolute here"
    return [(alias.asname or alias.name, f"{statement.module}.{alias.name}") for alias in statement.names]


def _note(node: ast.AST, definition: _Definition, module: str, imported: dict[str, str], own: set[str]) -> None:
    known, nodes = dict(imported), list(ast.walk(node))
    for inner in nodes:
        if isinstance(inner, ast.Import | ast.ImportFrom):
            bound = _bindings(inner, module)
            known |= dict(bound)
            definition.mentions |= {target for _, target in bound}
    in_handler = not module.startswith(("stowage", "worker"))
    skipped = set() if in_handler else _annotations(nodes)
    config = {
        target.id
        for inner in nodes
        if isinstance(inner, ast.Assign) and _is_settings(inner.value, known)
        for target in inner.targets
        if isinstance(target, ast.Name)
    }
    callers = _caller_names(nodes)
    for inner in nodes:
        if id(inner) in skipped:
            continue
        match inner:
            case ast.Attribute(value=value, attr=attr) if _is_settings(value, known) or (
                isinstance(value, ast.Name) and value.id in config
            ):
                definition.settings.add(attr)
            case ast.Attribute() if dotted := _dotted(inner):
                first, _, rest = dotted.partition(".")
                if first in known:
                    definition.mentions.add(f"{known[first]}.{rest}")
            case ast.Name(id=name) if name in known:
                definition.mentions.add(known[name])
            case ast.Name(id=name) if name in own:
                definition.mentions.add(f"{module}.{name}")
            case ast.Constant(value=str(text)) if module != KINDS and text.partition(":")[0] in modules():
                definition.mentions.add(text.replace(":", "."))
            case ast.Call():
                definition.operations |= _operation(inner, module, known)
        if isinstance(inner, ast.Attribute):
            definition.mentions |= _caller_members(inner, module, callers)


def _is_settings(node: ast.expr, known: dict[str, str]) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and known.get(node.func.id) == "stowage.settings.settings"
    )


def _annotations(nodes: list[ast.AST]) -> set[int]:
    """The nodes of every annotation among these, but not of a class's own fields: their validators run."""
    found: list[ast.AST] = []
    for inner in nodes:
        if isinstance(inner, ast.FunctionDef):
            arguments = [*inner.args.posonlyargs, *inner.args.args, *inner.args.kwonlyargs]
            found += [argument.annotation for argument in arguments if argument.annotation]
            found += [inner.returns] if inner.returns else []
            found += [statement.annotation for statement in ast.walk(inner) if isinstance(statement, ast.AnnAssign)]
    return {id(inner) for annotation in found for inner in ast.walk(annotation)}


def _dotted(node: ast.Attribute) -> str:
    parts = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    return ".".join([value.id, *reversed(parts)]) if isinstance(value, ast.Name) else ""


def _caller_names(nodes: list[ast.AST]) -> set[str]:
    """The arguments of the functions among these that are annotated as a caller."""
    return {
        argument.arg
        for inner in nodes
        if isinstance(inner, ast.FunctionDef)
        for argument in inner.args.args
        if isinstance(argument.annotation, ast.Name) and argument.annotation.id in _CALLERS
    }


def _caller_members(node: ast.Attribute, module: str, callers: set[str]) -> set[str]:
    """`caller.tenant` in a handler, and within the module of callers any attribute of that name."""
    if module not in _CALLER_MODULES and not (isinstance(node.value, ast.Name) and node.value.id in callers):
        return set()
    return {f"{owner}.{node.attr}" for owner in BY_MEMBER if node.attr in _members(owner)}


@cache
def _members(owner: str) -> frozenset[str]:
    module, _, name = owner.rpartition(".")
    [found] = [node for node in tree(module).body if isinstance(node, ast.ClassDef) and node.name == name]
    return frozenset(node.name for node in found.body if isinstance(node, ast.FunctionDef))


def _operation(call: ast.Call, module: str, known: dict[str, str]) -> set[Operation]:
    named = _texts(call.args[0]) if call.args else set()
    match call.func:
        case ast.Name(id="_call") if f"{module}._call" == TABLE_CALL:
            return {("dynamodb", operation) for operation in named}
        case ast.Attribute(attr=operation, value=ast.Call(func=ast.Name(id=getter))):
            target = known.get(getter, "")
            if target.rpartition(".")[0] != CLIENTS:
                return set()
            service = target.rpartition(".")[2]
            if operation == "get_paginator":
                return {(service, paged) for paged in named}
            if operation == "generate_presigned_url":
                return {(service, f"sign:{signed}") for signed in named}
            return {(service, operation)}
    return set()


def _texts(node: ast.expr) -> set[str]:
    """The texts that an expression may be: itself, or either side of an `if`."""
    if isinstance(node, ast.IfExp):
        return _texts(node.body) | _texts(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def _resolve(name: str, found: dict[str, _Definition]) -> str:
    """The definition that a mention names: an attribute of a value is the value's, a re-export is the original's."""
    if name.split(".", maxsplit=1)[0] not in _packages():
        return name
    for _ in range(8):
        if name in found:
            return name
        owner = _owner(name)
        if owner not in modules():
            return name
        rest = name.removeprefix(owner + ".")
        first, _, tail = rest.partition(".")
        if f"{owner}.{first}" in found:
            return f"{owner}.{first}"
        exported = {
            alias: target
            for statement in tree(owner).body
            if isinstance(statement, ast.Import | ast.ImportFrom)
            for alias, target in _bindings(statement, owner)
        }
        if first not in exported:
            return owner
        name = f"{exported[first]}.{tail}" if tail else exported[first]
    return name
