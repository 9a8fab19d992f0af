"""The API's description, an OpenAPI 3.1 document: what is committed of it, and the declared entities.

`base.json` is written by `make openapi` from the template's routes and the handlers; in it the routes
of records have `{entity}` in their paths, and an empty schema stands for a record's fields.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from stowage.access.identity import Role
from stowage.entities.declared import ENTITIES
from stowage.entry.document.entities import STAND_INS, schemas_of
from stowage.settings import settings

type Document = dict[str, Any]

_BASE = Path(__file__).with_name("base.json")


def read_base() -> Document:
    """The document without any entity."""
    document: Document = json.loads(_BASE.read_text())
    return document


def role_of_readers() -> Role | None:
    """Who may read the document: everybody, or with `OpenApiPublic` false whoever may sign in."""
    return None if settings().openapi_public else "viewer"


@cache
def served() -> tuple[str, str]:
    """The document of this deployment as JSON, and its entity tag."""
    document = read_base()
    schemas = document["components"]["schemas"]
    for entity in ENTITIES.values():
        schemas |= schemas_of(entity)
    for name in STAND_INS:
        schemas[name] |= {"anyOf": [{"$ref": f"#/components/schemas/{entity}.{name}"} for entity in ENTITIES]}
    document["components"]["parameters"]["entity"]["schema"]["enum"] = list(ENTITIES)
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return body, f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
