"""`make openapi`: writes the API's document from the template's routes and the handlers.

Three files, which a test compares with what they are written from:
- `docs/openapi.json`, for readers and tools: the routes of records stand there once for each entity of the sample;
- `layers/stowage/stowage/entry/document/base.json`, from which a deployment makes its own document;
- `layers/stowage/stowage/entry/routes.py`, the routes that `$default` tells 404 and 405 by.
"""

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from local.template import parse_yaml

type Json = dict[str, Any]

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs/openapi.json"
BASE = ROOT / "layers/stowage/stowage/entry/document/base.json"
ROUTES = ROOT / "layers/stowage/stowage/entry/routes.py"
EXAMPLES = ROOT / "docs/examples.json"
SAFE = ("GET", "HEAD")
REF = "#/components/schemas/{model}"

STATUSES = {
    200: "As asked.",
    201: "Made.",
    202: "Accepted; it goes on by itself.",
    204: "Nothing more to say.",
    207: "Done in part: the body says what became of each.",
    302: "Where it is.",
    304: "Nothing has changed since.",
    400: "The request is not one we take; nothing was changed.",
    401: "No credentials, or none that we accept.",
    403: "The caller may not do this, or the page may not ask for it.",
    404: "Not there, or not the caller's.",
    406: "The client takes no type in which this route answers.",
    409: "The state of the thing forbids it.",
    410: "It was here and is gone for good.",
    412: "The thing is not what If-Match says.",
    413: "Too large; the sentence names the alternative.",
    415: "The body is of a type that is not read here.",
    429: "Too many; Retry-After says when the next will do.",
    500: "A defect of ours.",
    502: "The backend did not answer as one can pass on (upstream mode).",
    503: "No room at the moment; nothing was changed, unless the code is outcome_unknown.",
    504: "The backend took too long (upstream mode).",
}
HEADERS = {
    "Allow": "The methods that the address takes.",
    "Cache-Control": "How long the answer may be kept.",
    "Content-Encoding": "gzip where the client takes it.",
    "Content-Security-Policy": "What the page may load: nothing but what comes from here.",
    "ETag": "The state that was shown, for If-None-Match and If-Match.",
    "Location": "Where it is.",
    "RateLimit-Limit": "How many calls the window takes.",
    "RateLimit-Remaining": "How many are left.",
    "RateLimit-Reset": "Seconds until the next window.",
    "Retry-After": "Seconds until another request makes sense.",
    "Set-Cookie": "The session cookie.",
    "WWW-Authenticate": "Bearer.",
}
LIMITED = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
HEADERS_OF = {401: ("WWW-Authenticate",), 429: ("Retry-After", *LIMITED), 503: ("Retry-After",)}
READ = {
    "Idempotency-Key": "Repeats of a request with the same key and body get the first answer (1 to 255 characters).",
    "If-Match": "The ETag that the record must still have.",
    "If-None-Match": "The ETag that the caller has already.",
    "Last-Event-ID": "The last event that was received.",
    "X-Tenant-Id": "The tenant, where the token names several.",
}
PATH = {
    "guildId": "The tenant's id.",
    "entity": "The plural name of a declared entity.",
    "token": "The token of a link that an answer gave.",
    "path+": "The rest of the path, slashes and all: a page of the console, or one of its files.",
}
AN_ID = "The id, as answers give it."


@dataclass(frozen=True)
class Route:
    """One route of the template and the function behind it; `module` is the handler's."""

    method: str
    path: str
    module: str

    @property
    def key(self) -> str:
        """The route as the gateway names it."""
        return f"{self.method} {self.path}"

    @property
    def stem(self) -> str:
        """The handler's file, and that of its sample event."""
        return self.module.rpartition(".")[2]


@cache
def read_routes() -> list[Route]:
    """The routes of the template's functions, by path and method."""
    resources = parse_yaml((ROOT / "template.yaml").read_text())["Resources"]
    found = []
    for resource in resources.values():
        properties = resource.get("Properties", {})
        for event in properties.get("Events", {}).values() if isinstance(properties, dict) else ():
            if event["Type"] == "HttpApi" and "Path" in event.get("Properties", {}):
                given = event["Properties"]
                found.append(Route(given["Method"].upper(), given["Path"], properties["Handler"].rpartition(".")[0]))
    return sorted(found, key=lambda route: (route.path, route.method))


class _Schemas(GenerateJsonSchema):
    """Answers hold every field that their types declare, but for those that an answer may leave out (`exclude_if`)."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        if self.mode == "serialization" and field["type"] != "typed-dict-field":
            return "serialization_exclude_if" not in field
        return super().field_is_required(field, total)


class _Types:
    """The types that operations name, and in the end their schemas."""

    def __init__(self) -> None:
        self._adapters: dict[tuple[str, Any], TypeAdapter[Any]] = {}
        self._schemas: dict[tuple[str, Any], Json] = {}
        self.definitions: Json = {}

    def add(self, named: Any, mode: str, adapter: TypeAdapter[Any] | None = None) -> None:
        self._adapters.setdefault((mode, _key(named)), adapter or TypeAdapter(named))

    def generate(self) -> None:
        inputs: list[Any] = [(key, key[0], adapter) for key, adapter in self._adapters.items()]
        found, made = TypeAdapter.json_schemas(inputs, ref_template=REF, schema_generator=_Schemas)
        self._schemas = {key: _tidied(schema) for (key, _), schema in found.items()}
        self.definitions = _tidied(made.get("$defs", {}))

    def schema(self, named: Any, mode: str) -> Json:
        return self._schemas[mode, _key(named)]


def _key(named: Any) -> Any:
    return named if isinstance(named, type) else repr(named)


def _tidied(part: Any) -> Any:
    """Without the titles that only repeat a name; a rule around a validator of ours in JSON Schema's words."""
    match part:
        case dict():
            words = {"ge": "minimum", "le": "maximum"}
            return {
                words.get(name, name): _tidied(inner)
                for name, inner in part.items()
                if not (name == "title" and isinstance(inner, str))
            }
        case list():
            return [_tidied(inner) for inner in part]
    return part


@dataclass
class _Operation:
    """One route with what its handler says of it."""

    route: Route
    app: Any
    declared: Any

    @property
    def work(self) -> Callable[..., Any]:
        work: Callable[..., Any] = self.declared.func
        return work

    @property
    def answers(self) -> tuple[Any, ...]:
        from stowage.entry.answers import Answer

        declared: tuple[Any, ...] = self.app.description.answers
        return declared or (Answer(200, self.work.__annotations__["return"]),)

    @property
    def body(self) -> tuple[TypeAdapter[Any], bool] | None:
        """The type of the body, and whether there must be one."""
        if self.app.description.body is not None:
            return TypeAdapter(self.app.description.body), True
        for param in self.declared.dependant.body_params:
            return param._type_adapter, param.required
        return None

    @property
    def refuses(self) -> list[int]:
        """The statuses of refusals: those that follow from what the operation is, and its own."""
        description, is_change = self.app.description, self.route.method not in SAFE
        statuses = {400, 500, 503, *description.refuses}
        if self.app.role is not None:
            statuses.add(401)
        if is_change or self.app.role in ("operator", "admin"):
            statuses.add(403)
        if "{" in self.route.path or "X-Tenant-Id" in description.reads:
            statuses.add(404)
        if is_change:
            statuses |= {413, 415}
        if "Idempotency-Key" in description.reads:
            statuses.add(409)
        if "If-Match" in description.reads:
            statuses.add(412)
        if self.app.limits:
            statuses.add(429)
        if "/guilds/" in self.route.path:
            statuses |= {502, 504}
        return sorted(statuses)


def _operations() -> list[_Operation]:
    found = []
    for route in read_routes():
        app = importlib.import_module(route.module).app
        (declared,) = (
            each
            for each in app._static_routes + app._dynamic_routes
            if each.method == route.method
            and _unnamed(each.path) == _unnamed(route.path.replace("/api/v1/guilds/", "/api/guilds/"))
        )
        found.append(_Operation(route, app, declared))
    return found


def _unnamed(path: str) -> str:
    return re.sub(r"\{\w+\+?\}|<\w+>", "{}", path)


def build_base() -> Json:
    """The document with `{entity}` in its paths."""
    from stowage.entry.answers import Refusal

    operations, types = _operations(), _Types()
    types.add(Refusal, "serialization")
    for operation in operations:
        for answer in operation.answers:
            if answer.body is not None:
                types.add(answer.body, "serialization")
        if body := operation.body:
            types.add((operation.route.key, "body"), "validation", body[0])
        for name, param in _query_of(operation).items():
            types.add((operation.route.key, name), "validation", param[0])
    types.generate()
    paths: Json = {}
    seen: dict[str, int] = {}
    for operation in operations:
        count = seen[operation.route.stem] = seen.get(operation.route.stem, 0) + 1
        described = _described(operation, types, f"_{count}" if count > 1 else "")
        paths.setdefault(operation.route.path, {})[operation.route.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stowage",
            "version": "1",
            "summary": "Exports, bulk edits, trash, records, imports and backups of tenants.",
            "description": "What all routes have in common stands in docs/api.md of the repository.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted((types.definitions | _REFUSAL_OF_THE_GATEWAY).items())),
            "responses": {str(status): _refusal(status, types.schema(Refusal, "serialization")) for status in REFUSED},
            "parameters": _parameters(),
            "headers": {name: _header(name) for name in HEADERS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A JWT, or an API key (stw_…)."},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key (stw_…)."},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "auth_token", "description": "A session's JWT."},
            },
        },
    }


FOR = {
    None: "For everybody.",
    "viewer": "For every role.",
    "operator": "For operators and admins.",
    "admin": "For admins.",
}
CREDENTIALS: list[Json] = [{"bearer": []}, {"key": []}, {"cookie": []}]
REFUSED = [status for status in STATUSES if status >= 400]
_REFUSAL_OF_THE_GATEWAY: Json = {
    "GatewayRefusal": {
        "type": "object",
        "description": "What the gateway itself refuses, and what it says when a function gave no answer.",
        "properties": {"message": {"type": ["string", "null"]}},
        "required": ["message"],
        "additionalProperties": False,
    }
}


def _described(operation: _Operation, types: _Types, number: str) -> Json:
    route, role = operation.route, operation.app.role
    sentence = " ".join((operation.work.__doc__ or "").split())
    described: Json = {
        "operationId": route.stem + number,
        "tags": [route.module.partition(".")[0]],
        "summary": sentence,
        "description": "For everybody, unless OpenApiPublic is false." if callable(role) else FOR[role],
        "parameters": [*_path_parameters(route), *_other_parameters(operation, types)],
        "responses": _responses(operation, types),
        "security": [] if role is None else [*([{}] if callable(role) else []), *CREDENTIALS],
    }
    if body := operation.body:
        schema = _not_null(types.schema((route.key, "body"), "validation"))
        described["requestBody"] = {"required": body[1], "content": {"application/json": {"schema": schema}}}
    if "{entity}" not in route.path:
        _give_examples(described, _sample(route.stem))
    return described


@cache
def _sample(stem: str) -> Json:
    event: Json = json.loads((ROOT / "events" / f"{stem}.json").read_text())
    return event


def _path_parameters(route: Route) -> list[Json]:
    found = []
    for name in re.findall(r"\{(\w+\+?)\}", route.path):
        if name in ("guildId", "entity"):
            found.append({"$ref": f"#/components/parameters/{name}"})
            continue
        parameter: Json = {"name": name, "in": "path", "required": True, "description": PATH.get(name, AN_ID)}
        found.append(parameter | {"schema": {"type": "string", "minLength": 1}})
    return found


def _query_of(operation: _Operation) -> Mapping[str, tuple[TypeAdapter[Any], bool, Any]]:
    """The query's parameters: the type of each, whether it must be given, and its default."""
    declared = {
        param.alias: (param._type_adapter, param.required, None if param.required else param.default)
        for param in operation.declared.dependant.query_params
    }
    own = operation.app.description.query or {}
    return declared | {name: (TypeAdapter(named), False, None) for name, named in own.items()}


def _other_parameters(operation: _Operation, types: _Types) -> list[Json]:
    found = []
    for name, (_, required, default) in _query_of(operation).items():
        schema = _not_null(types.schema((operation.route.key, name), "validation"))
        schema |= {"default": default} if default is not None else {}
        found.append({"name": name, "in": "query", "required": required, "schema": schema})
    if operation.app.open_query and "{entity}" in operation.route.path:
        found.append({"$ref": "#/components/parameters/filters"})
    return found + [{"$ref": f"#/components/parameters/{name}"} for name in operation.app.description.reads]


def _not_null(schema: Json) -> Json:
    """The schema of a parameter that may be left out: absent is not null."""
    kept = {name: value for name, value in schema.items() if name not in ("default", "anyOf")}
    alternatives = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if not alternatives:
        return kept
    return kept | (alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives})


def _responses(operation: _Operation, types: _Types) -> Json:
    found: Json = {}
    for answer in operation.answers:
        response = found.setdefault(str(answer.status), {"description": STATUSES[answer.status]})
        same = [each for each in operation.answers if each.status == answer.status]
        headers = [*answer.headers, *(LIMITED if operation.app.limits else ())]
        for name in headers:
            # Required where every answer of this status has it.
            always = all(name in each.headers or name in LIMITED for each in same)
            reference = {"$ref": f"#/components/headers/{name}"}
            response.setdefault("headers", {})[name] = reference if always else _header(name) | {"required": False}
        if answer.body is not None:
            schema = types.schema(answer.body, "serialization")
            content: Json = {"schema": schema}
            if answer.media_type == "application/json":
                content |= _example("refusals" if answer.status >= 400 else operation.route.key, str(answer.status))
            response.setdefault("content", {})[answer.media_type] = content
    for status in operation.refuses:
        found.setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
    found["default"] = {
        "description": "What the gateway itself refuses.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/GatewayRefusal"}}},
    }
    return found


def _example(route: str, status: str) -> Json:
    """The recorded answer of a route (`make examples`), where there is one; both mounts of a route have the same."""
    found = _examples().get(route.replace("/api/v1/guilds/", "/api/guilds/"), {})
    return {"example": found[status]} if status in found else {}


@cache
def _examples() -> Json:
    found: Json = json.loads(EXAMPLES.read_text()) if EXAMPLES.exists() else {}
    return found


def _refusal(status: int, schema: Json) -> Json:
    response: Json = {
        "description": STATUSES[status],
        "content": {"application/json": {"schema": schema} | _example("refusals", str(status))},
    }
    if headers := HEADERS_OF.get(status):
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return response


def _header(name: str) -> Json:
    number = name in (*LIMITED, "Retry-After")
    return {"description": HEADERS[name], "required": True, "schema": {"type": "integer" if number else "string"}}


def _parameters() -> Json:
    found: Json = {
        name: {"name": name, "in": "header", "required": False, "description": what, "schema": {"type": "string"}}
        for name, what in READ.items()
    }
    found["Idempotency-Key"]["schema"] |= {"minLength": 1, "maxLength": 255}
    for name in ("guildId", "entity"):
        found[name] = {"name": name, "in": "path", "required": True, "description": PATH[name]}
        found[name]["schema"] = {"type": "string"}
    found["guildId"]["example"] = "acme"
    found["filters"] = {
        "name": "filters",
        "in": "query",
        "required": False,
        "description": "Fields of the entity and what they are to be (docs/api.md, Filters).",
        "style": "form",
        "explode": True,
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    return found


def expand(base: Json, entities: Iterable[Any]) -> Json:
    """The same with the routes of records once for each of these entities, and their own schemas."""
    from stowage.entities.filters import filter_names
    from stowage.entry.document.entities import STAND_INS, schemas_of

    document = deepcopy(base)
    general = _that_need(document["components"]["schemas"], STAND_INS)
    taken = {name: document["components"]["schemas"].pop(name) for name in general}
    del document["components"]["parameters"]["entity"]
    del document["components"]["parameters"]["filters"]
    paths, document["paths"] = document["paths"], {}
    for path, methods in paths.items():
        if "{entity}" not in path:
            document["paths"][path] = methods
            continue
        for entity in entities:
            own = _renamed(deepcopy(methods), general, entity.name)
            for method, operation in own.items():
                stem = operation["operationId"]
                for status, answer in operation["responses"].items():
                    if "application/json" in answer.get("content", {}):
                        recorded = _example(f"{method.upper()} {path.replace('{entity}', entity.name)}", status)
                        answer["content"]["application/json"] |= recorded
                operation["operationId"] += f"_{entity.name}"
                operation["tags"] = [entity.name]
                sample = _sample(stem)
                if sample["pathParameters"]["entity"] == entity.name:
                    _give_examples(operation, sample)
                operation["parameters"] = [
                    parameter
                    for given in operation["parameters"]
                    for parameter in _of_entity(given, filter_names(entity))
                ]
            document["paths"][path.replace("{entity}", entity.name)] = own
    for entity in entities:
        for name, schema in taken.items():
            if name not in STAND_INS:
                renamed = _renamed(deepcopy(schema), general, entity.name)
                document["components"]["schemas"][f"{entity.name}.{name}"] = renamed
        document["components"]["schemas"] |= schemas_of(entity)
    return document


def _give_examples(operation: Json, sample: Json) -> None:
    """What the sample event of a handler sends."""
    given = {**(sample.get("pathParameters") or {}), **(sample.get("queryStringParameters") or {})}
    for parameter in operation["parameters"]:
        if parameter.get("name") in given:
            value = given[parameter["name"]]
            parameter["example"] = int(value) if parameter["schema"].get("type") == "integer" else value
    if "requestBody" in operation and sample.get("body"):
        operation["requestBody"]["content"]["application/json"]["example"] = json.loads(sample["body"])


def _of_entity(parameter: Json, filters: list[str]) -> list[Json]:
    match parameter.get("$ref", "").rpartition("/")[2]:
        case "entity":
            return []
        case "filters":
            return [
                {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
                for name in dict.fromkeys(filters)
            ]
    return [parameter]


def _that_need(schemas: Json, names: Iterable[str]) -> list[str]:
    """These schemas, and all that refer to one of them, by way of others too."""
    found = list(names)
    while more := [
        name
        for name, schema in schemas.items()
        if name not in found and any(f'/{each}"' in json.dumps(schema) for each in found)
    ]:
        found += more
    return found


def _renamed(part: Any, names: Iterable[str], entity: str) -> Any:
    """The same with references to these schemas leading to the entity's own."""
    match part:
        case {"$ref": str(reference)} if reference.rpartition("/")[2] in names:
            return {"$ref": REF.format(model=f"{entity}.{reference.rpartition('/')[2]}")}
        case dict():
            return {name: _renamed(inner, names, entity) for name, inner in part.items()}
        case list():
            return [_renamed(inner, names, entity) for inner in part]
    return part


def routes_module() -> str:
    """The text of the module that lists the routes."""
    listed = "".join(f'    "{route.key}",\n' for route in read_routes())
    return f'"""Every route of the template; written by `make openapi`."""\n\nROUTES = (\n{listed})\n'


def files() -> dict[Path, str]:
    """What the command writes, by path."""
    from stowage.entities.declared import ENTITIES

    base = build_base()
    return {BASE: _text(base), DOCUMENT: _text(expand(base, ENTITIES.values())), ROUTES: routes_module()}


def _text(document: Json) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / part) for part in ("functions", "layers/stowage", "layers/entities")]
    for path, text in files().items():
        path.write_text(text)
