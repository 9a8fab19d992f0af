"""GraphQL over HTTP on the declared entities (docs/api.md): the use cases of the records' routes, by one request."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    NoSchemaIntrospectionCustomRule,
    execute_sync,
    specified_rules,
    validate,
)

from stowage.basics.errors import NotAcceptableError, StowageError, TooLargeError
from stowage.basics.json_numbers import write_json
from stowage.basics.sizes import is_deliverable
from stowage.graphql.loading import Asking
from stowage.graphql.requests import KEPT_DOCUMENTS, GraphqlRequest, parsed, read_document, read_request
from stowage.graphql.schema import schema
from stowage.postgres.session.edit import Edit
from stowage.postgres.session.transactions import REQUEST_SECONDS
from stowage.settings import settings

JSON, OWN = "application/json", "application/graphql-response+json"

type Told = dict[str, Any]
"""What a refusal says: its sentence, its code, and more of it."""


def media_type(accept: str | None) -> str:
    """The type of the answer that a client asks for; JSON where it does not say. NotAcceptableError where neither
    type of GraphQL over HTTP will do.
    """
    accepted = [each.partition(";")[0].strip().lower() for each in (accept or "*/*").split(",")]
    for each in accepted:
        if each in (JSON, OWN):
            return each
    if any(each in ("*/*", "application/*") for each in accepted):
        return JSON
    raise NotAcceptableError(f"This route answers in {OWN} or {JSON}.")


def answer_graphql(edit: Edit, raw: bytes, kind: str, told: Callable[[Exception], Told]) -> tuple[int, str]:
    """The status and body of the answer, of that media type, to a request for `edit`'s tenant and caller.

    `told` says what a client may know of what was raised. A request that cannot be executed is answered with 400, as
    JSON for older clients with 200 (GraphQL over HTTP, "Status codes"), and has changed nothing. BadRequestError for
    a body that is no request.
    """
    request = read_request(raw)
    try:
        document = read_document(request)
        if errors := _mistakes(request.query, shows_itself=_shows_itself()):
            return _refused(kind, errors, told)
        result = _run(edit, request, document)
    except GraphQLError as error:
        return _refused(kind, [error], told)
    if result.data is None and result.errors and all(error.path is None for error in result.errors):
        return _refused(kind, result.errors, told)  # its variables or its operation's name, before anything was run
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body["errors"] = [_shown(error, told) for error in result.errors]
    text = write_json(body)
    if not is_deliverable(text):
        large = TooLargeError("All was done, and the answer is too large: ask for less of it.")
        return 200, write_json({"data": None, "errors": [_shown(GraphQLError("", original_error=large), told)]})
    return 200, text


def _run(edit: Edit, request: GraphqlRequest, document: DocumentNode) -> ExecutionResult:
    return execute_sync(
        schema(),
        document,
        context_value=Asking(edit, time.monotonic() + REQUEST_SECONDS),
        variable_values=request.variables,
        operation_name=request.operationName,
        max_coercion_errors=20,
        hide_suggestions=not _shows_itself(),
    )


def _shows_itself() -> bool:
    return settings().graphql_introspection


@lru_cache(KEPT_DOCUMENTS)
def _mistakes(query: str, *, shows_itself: bool) -> list[GraphQLError]:
    """What is wrong with a document by the schema; variables have no part in it."""
    rules = specified_rules if shows_itself else [*specified_rules, NoSchemaIntrospectionCustomRule]
    return validate(schema(), parsed(query), rules, max_errors=20, hide_suggestions=not shows_itself)


def _refused(kind: str, errors: list[GraphQLError], told: Callable[[Exception], Told]) -> tuple[int, str]:
    shown = [_shown(error, told) for error in errors]
    for each in shown:
        each.setdefault("extensions", {"code": "invalid_query"})
    return (400 if kind == OWN else 200), write_json({"errors": shown})


def _shown(error: GraphQLError, told: Callable[[Exception], Told]) -> dict[str, Any]:
    """An error as clients may see it: nothing of one that is not ours but that there was one."""
    shown: dict[str, Any] = {**error.formatted}
    original = error.original_error
    if original is None or isinstance(original, GraphQLError):
        return shown
    refusal = told(original)
    shown["message"] = refusal["message"]
    shown["extensions"] = {name: refusal[name] for name in ("code", "details", "requestId") if name in refusal}
    if isinstance(original, StowageError) and original.retry_after is not None:
        shown["extensions"]["retryAfter"] = original.retry_after
    return shown
