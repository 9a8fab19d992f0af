"""An HTTP operation: the one object that each handler file makes, and the caller that it hands to the route.

    app = http_app("operator")

    @app.post("/api/guilds/<guild_id>/exports")
    def create_export(caller: Caller, request: ExportRequest) -> ...

Before the route's own code: size, credentials, tenant, role, origin, in this order; then the types of the route's
parameters. Whatever is raised becomes an answer in the contract's one shape.
"""

import hashlib
import json
import re
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any
from urllib.parse import quote, unquote

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Depends, Request, Response, depends
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_core import from_json

from stowage.access.identity import EVERY_TENANT, Identity, Role, refuse_below
from stowage.access.limits import Limit, limit_headers
from stowage.basics.complaints import field_name, message, refusal
from stowage.basics.errors import (
    BadRequestError,
    Detail,
    ForbiddenError,
    NotFoundError,
    StowageError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedTypeError,
)
from stowage.basics.ids import decode_id, is_emitted
from stowage.basics.telemetry import logger
from stowage.entry.answers import Answer, Description, Refusal
from stowage.entry.auth import identify, token_for_backend, token_of
from stowage.settings import settings
from stowage.tenants import Tenant, find_tenant, list_tenants

MOST_BODY_BYTES = 4_500_000
"""Lambda's 6 MB is of the event, in which the body is escaped (docs/api.md, Limits)."""
MOST_DETAILS = 100
LONGEST_WORDS = 1000
SAFE_METHODS = ("GET", "HEAD")
MOUNTS = ("/api/guilds/", "/api/v1/guilds/")
"""Where the dashboards' routes are mounted: the same functions under both."""
LONGEST_KEY = 255
# Powertools reads the annotations of a route and of what it depends on anew at every request: a tenth of what a poll
# costs beside its GetItem. They are the same each time.
for _name in ("build_dependency_tree", "get_type_hints"):
    setattr(depends, _name, cache(getattr(depends, _name)))
_JSON_TYPE = re.compile(r"\s*application/json\s*(;\s*charset=\"?utf-8\"?\s*)?;?\s*", re.IGNORECASE)
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF = r"u[dD][89a-fA-F][0-9a-fA-F]{2}"
_LONE = re.compile(rf"(?:[^\\]++|{_PAIR}|\\(?!{_HALF}).)*+\\{_HALF}", re.DOTALL)
"""From the beginning of a body to an escape of half a surrogate pair."""

Id = Annotated[str, AfterValidator(decode_id)]
"""An id from a path or a query, in either of its forms."""


class Body(BaseModel):
    """A request's body: fields that are not declared are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Data[T](BaseModel):
    """The envelope of the backup and job routes."""

    data: T


@dataclass(kw_only=True)
class VisitorContext:
    """A request, whoever it comes from."""

    now: datetime
    source_ip: str
    base_url: str
    method: str
    path: str
    headers: Mapping[str, str]
    limits: list[Limit] = field(default_factory=list)
    """The rate limits that the request falls under; every answer tells of them."""

    def has(self, tag: str) -> bool:
        """Whether the caller has the state of that entity tag (RFC 9110 §13.1.2: the weak comparison)."""
        given = [each.strip().removeprefix("W/") for each in self.headers.get("if-none-match", "").split(",")]
        return given == ["*"] or tag.removeprefix("W/") in given


@dataclass(kw_only=True)
class CallerContext(VisitorContext):
    """Who calls, and for which tenant."""

    identity: Identity
    path_tenant: str | None = None

    @property
    def sub(self) -> str:
        """The caller's name in the token."""
        return self.identity.sub

    @property
    def tenant_id(self) -> str:
        """The id of the tenant in the path. The token allows it; whether there is such a tenant was not looked up."""
        if self.path_tenant is None:
            raise LookupError("this route has no tenant in its path")
        return self.path_tenant

    @property
    def tenant(self) -> Tenant:
        """The tenant in the path."""
        return find_tenant(self.tenant_id, self.now)

    def tenant_named(self, project_id: str | None) -> Tenant:
        """The tenant of a route without one in its path: from the request, `X-Tenant-Id`, or the token's only one.

        NotFoundError where the caller may not see it, BadRequestError `tenant_required` where nothing names one.
        """
        wanted = project_id or self.headers.get("x-tenant-id")
        if not wanted:
            only = list(self.identity.tenants)
            if len(only) != 1 or only[0] == EVERY_TENANT:
                raise BadRequestError(
                    "Name the tenant: in the header X-Tenant-Id, or as project_id where the route takes one.",
                    "tenant_required",
                )
            wanted = only[0]
        self.must_see(wanted)
        return find_tenant(wanted, self.now)

    def tenants(self) -> list[Tenant]:
        """Every tenant that the caller may see."""
        return [tenant for tenant in list_tenants() if self.identity.sees(tenant.id)]

    def must_see(self, tenant_id: str | None) -> str:
        """The same id, if the caller may see that tenant; else the 404 of one that does not exist."""
        if tenant_id is None or not self.identity.sees(tenant_id):
            raise NotFoundError("There is no such tenant.", "tenant_not_found")
        return tenant_id

    def must_see_run(self, tenant_id: str | None) -> str:
        """The tenant of a run, if the caller may see it; else the 404 of a run that does not exist."""
        if tenant_id is None or not self.identity.sees(tenant_id):
            raise NotFoundError("There is no such run.")
        return tenant_id

    def tenant_ids(self, project_id: str | None) -> list[str] | None:
        """The tenants that a list spans: the one that the request names, else all of the caller's (None: every one)."""
        if project_id is not None or "x-tenant-id" in self.headers:
            return [self.tenant_named(project_id).id]
        return None if EVERY_TENANT in self.identity.tenants else sorted(self.identity.tenants)

    def tenants_spanned(self, project_id: str | None) -> list[Tenant]:
        """The same tenants as far as there are such, each with its name."""
        if project_id is not None or "x-tenant-id" in self.headers:
            return [self.tenant_named(project_id)]
        return self.tenants()

    def must(self, role: Role) -> None:
        """ForbiddenError below that role."""
        refuse_below(self.identity.role, role)

    @property
    def idempotency_key(self) -> str | None:
        """The request's Idempotency-Key, 1 to 255 characters."""
        key = self.headers.get("idempotency-key")
        if key is not None and not 1 <= len(key) <= LONGEST_KEY:
            raise BadRequestError("An Idempotency-Key has 1 to 255 characters.", "invalid_idempotency_key")
        return key


type RoleOfNow = Callable[[], Role | None]
"""The role of an operation that a setting decides."""

type Limits = Callable[[CallerContext], list[Limit]]
"""The limits of an operation as far as they are known before its body is; the route may set its caller's anew."""


class Operation(APIGatewayHttpResolver):
    """One operation behind one or more routes; `role` None lets everybody in."""

    def __init__(
        self,
        role: "Role | RoleOfNow | None",
        description: Description,
        *,
        open_query: bool = False,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(
            enable_validation=True,
            response_validation_error_http_code=500,
            serializer=_json,
            json_body_deserializer=_read_json,
        )
        self.role = role
        self.description = description
        self.open_query = open_query
        self.limits = limits
        # Powertools answers these two itself, in a shape of its own, unless somebody else does.
        self.exception_handler([RequestValidationError, RequestUnsupportedContentType])(self._refuse)

    def resolve(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Answer one event of the HTTP API (payload format 2.0)."""
        started = time.perf_counter()
        request_id = event["requestContext"]["requestId"]
        visitor: VisitorContext | None = None
        try:
            _check_size(event)
            if is_forwarded(event):
                answer = _forwarded(event)
            else:
                role = self.role() if callable(self.role) else self.role
                visitor = _visitor(event, signed_in=role is not None)
                if role is not None and isinstance(visitor, CallerContext):
                    visitor.limits = self.limits(visitor) if self.limits else []
                    visitor.must(role)
                _check_origin(visitor, event)
                check_ids(event, beside=("guildId", "entity"))
                self.append_context(visitor=visitor)  # type: ignore[no-untyped-call]
                self._check_query(event)
                read = {"rawPath": _path(event), "body": _body(event), "isBase64Encoded": False}
                answer = super().resolve({**event, **read}, context)
        except Exception as error:
            self.clear_context()  # type: ignore[no-untyped-call]
            answer = error_answer(error, request_id)
        if visitor:
            answer["headers"] = {**answer.get("headers", {}), **_limit_headers(visitor)}
        caller = visitor if isinstance(visitor, CallerContext) else None
        logger.info(
            "request",
            request=request_id,
            route=event["routeKey"],
            status=answer["statusCode"],
            tenant=caller.path_tenant if caller else None,
            sub=caller.sub if caller else None,
            ms=round(1000 * (time.perf_counter() - started), 1),
        )
        return answer

    def _refuse(self, error: Exception) -> Response[str]:
        answer = error_answer(error, self.current_event.request_context.request_id)
        return Response(answer["statusCode"], "application/json", answer["body"])

    def _convert_matches_into_route_keys(self, match: re.Match[str]) -> dict[str, str]:
        """The path's parameters as the gateway gave them: `_path` encodes them, and Powertools leaves them so."""
        return {name: unquote(value) for name, value in match.groupdict().items()}

    def _check_query(self, event: Mapping[str, Any]) -> None:
        """Refuse query parameters that this operation does not declare: a typing error must not look like success."""
        given = event.get("queryStringParameters") or {}
        if not given or self.open_query:
            return
        declared = {
            param.alias
            for route in self._static_routes + self._dynamic_routes
            for param in route.dependant.query_params
        }
        unknown = sorted(given.keys() - declared)
        if unknown:
            raise BadRequestError(
                f"There is no query parameter {', '.join(unknown)} here.",
                details=[{"field": name, "message": "not a parameter of this route"} for name in unknown],
            )


def http_app(
    role: Role | RoleOfNow | None = "viewer",
    *,
    open_query: bool = False,
    limits: Limits | None = None,
    answers: tuple[Answer, ...] = (),
    refuses: tuple[int, ...] = (),
    reads: tuple[str, ...] = (),
    body: Any = None,
    query: dict[str, Any] | None = None,
) -> Operation:
    """A handler for one operation. Callers need this role or a higher one; None lets in everybody,
    without credentials.

    `open_query`: the operation reads the query (`Query`) and refuses what it does not know itself.
    `limits`: the rate limits that its answers tell of. The others describe the operation
    (`Description`).
    """
    return Operation(role, Description(answers, refuses, reads, body, query), open_query=open_query, limits=limits)


def _current_caller(request: Request) -> CallerContext:
    caller = request.context["visitor"]
    assert isinstance(caller, CallerContext), "a route that everybody may use has a Visitor"
    return caller


def _current_visitor(request: Request) -> VisitorContext:
    visitor: VisitorContext = request.context["visitor"]
    return visitor


def _current_query(request: Request) -> Mapping[str, str]:
    return request.query_parameters or {}


def _current_body(request: Request) -> bytes:
    event = request.resolved_event
    body = event.body or ""
    return b64decode(body) if event.is_base64_encoded else body.encode()


Caller = Annotated[CallerContext, Depends(_current_caller)]
"""A route's parameter that gets the caller."""

Visitor = Annotated[VisitorContext, Depends(_current_visitor)]
"""The same for operations that everybody may use."""

Query = Annotated[Mapping[str, str], Depends(_current_query)]
"""The query string's parameters, for operations whose parameters depend on the path."""


def _digits(given: object) -> object:
    if isinstance(given, str) and not (given.isascii() and given.removeprefix("-").isdigit()):
        raise ValueError("expected a whole number")
    return given


WholeNumber = Annotated[int, BeforeValidator(_digits)]
"""A query parameter in plain digits: pydantic's own reading takes `1_000` and `1.0` too."""

RawBody = Annotated[bytes, Depends(_current_body)]
"""The body as it came, for operations that read it themselves, once and from its bytes."""


def _path(event: Mapping[str, Any]) -> str:
    """The path as the handler declares it, from the route's key and its parameters.

    `rawPath` arrives decoded, so an id with `/` or `%` in it would match nothing. Both mounts have one declaration.
    """
    path = event["routeKey"].partition(" ")[2].replace("/api/v1/guilds/", "/api/guilds/")
    for name, value in (event.get("pathParameters") or {}).items():
        path = path.replace("{" + name + "+}", "{" + name + "}").replace("{" + name + "}", quote(value, safe="~"))
    return str(path)


def _check_size(event: Mapping[str, Any]) -> None:
    body = event.get("body") or ""
    size = len(body) * 3 // 4 if event.get("isBase64Encoded") else len(body.encode())
    if size > MOST_BODY_BYTES:
        raise TooLargeError("A request's body may have 4.5 MB; larger files go through the upload or import routes.")


def _body(event: Mapping[str, Any]) -> str:
    """The body as text, without a byte order mark, which RFC 8259, section 8.1, lets a parser ignore.

    Refuses bodies that are compressed, and those that Powertools would take for a JSON object: lists,
    and forms, which any page may send anywhere.
    """
    body: str = event.get("body") or ""
    headers = event["headers"]
    if body and headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedTypeError("Send the body as it is, not compressed: this route reads no Content-Encoding.")
    if body and not _JSON_TYPE.fullmatch(headers.get("content-type", "application/json")):
        raise UnsupportedTypeError("Send JSON, in UTF-8.")
    if "content-type" in headers:
        headers["content-type"] = headers["content-type"].lower()  # Powertools knows it in no other case
    if event.get("isBase64Encoded"):
        try:
            body = b64decode(body).decode()
        except ValueError:
            raise _not_utf8() from None
    elif "\ufffd" in body and str(len(body.encode())) != headers.get("content-length"):
        raise _not_utf8()
    body = body.removeprefix("\ufeff")
    if body.lstrip().startswith("["):
        raise _refused("send a JSON object")
    if _LONE.match(body):
        raise _refused("a text of the body holds half a surrogate pair, which is no character")
    return body


def _not_utf8() -> BadRequestError:
    """The 400 for a body that is not UTF-8.

    A gateway may give such a body in base64, as the local one does, or as text with U+FFFD for the wrong bytes: AWS
    does not document it. A U+FFFD is three bytes long, nearly every wrong sequence is shorter: so the length that the
    client sent tells the two apart. (Not the beginning of a character of four bytes that lacks its last byte: in a
    text it is one U+FFFD.)
    """
    return _refused("the body is not UTF-8")


def _refused(message: str) -> BadRequestError:
    return refusal([{"field": "", "message": message}])


def _read_json(text: str) -> Any:
    """Parse a JSON body as strictly as pydantic parses the others.

    JSONDecodeError, also where it is nested too deep or a number is too long.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise json.JSONDecodeError(str(error), text, 0) from None


def _visitor(event: Mapping[str, Any], *, signed_in: bool) -> VisitorContext:
    now = datetime.now(UTC)
    headers = event["headers"]
    source_ip = event["requestContext"]["http"]["sourceIp"]
    if not signed_in:
        return VisitorContext(
            now=now,
            source_ip=source_ip,
            base_url=base_url(event),
            method=event["requestContext"]["http"]["method"],
            path=event["requestContext"]["http"]["path"],
            headers=headers,
        )
    token, by_cookie = token_of(headers, event.get("cookies") or [])
    caller = CallerContext(
        now=now,
        source_ip=source_ip,
        base_url=base_url(event),
        method=event["requestContext"]["http"]["method"],
        path=event["requestContext"]["http"]["path"],
        headers=headers,
        identity=identify(token, now, by_cookie=by_cookie),
        path_tenant=(event.get("pathParameters") or {}).get("guildId"),
    )
    if caller.path_tenant is not None:
        caller.must_see(caller.path_tenant)
    return caller


def _limit_headers(visitor: VisitorContext) -> dict[str, str]:
    try:
        return limit_headers(visitor.limits, visitor.now)
    except UnavailableError:
        return {}  # what was done stays done, and its answer goes out


def base_url(event: Mapping[str, Any]) -> str:
    """Where callers reach the deployment, for absolute links: as `PublicUrl` says, else by the gateway's own name.

    Never the Host header, which any caller may write.
    """
    return settings().public_url or _gateway_url(event)


def _gateway_url(event: Mapping[str, Any]) -> str:
    scheme = "http" if event["headers"].get("x-forwarded-proto") == "http" else "https"
    return f"{scheme}://{event['requestContext']['domainName']}"


def _check_origin(visitor: VisitorContext, event: Mapping[str, Any]) -> None:
    """A change made on a cookie's strength alone must come from a page of ours (docs/api.md, Sign-in).

    Without credentials (signing in and out) only a foreign page is refused.
    """
    if event["requestContext"]["http"]["method"] in SAFE_METHODS:
        return
    if isinstance(visitor, CallerContext):
        refused = visitor.identity.by_cookie and not is_own_origin(event)
    else:
        refused = "origin" in visitor.headers and not is_own_origin(event)
    if refused:
        raise foreign_origin()


def check_ids(event: Mapping[str, Any], beside: tuple[str, ...] = ()) -> None:
    """Refuse a change whose path has an id in another form than answers give: BadRequestError `encode_id`.

    The gateway may have cut a raw id, so that it names another record (docs/api.md, Ids). `beside`
    are parameters that hold no id.
    """
    if event["requestContext"]["http"]["method"] in SAFE_METHODS:
        return
    for name, given in (event.get("pathParameters") or {}).items():
        if name not in beside and not is_emitted(given):
            raise BadRequestError(
                "In the address of a change an id stands as answers give it: plain if it has only A-Z, a-z, 0-9,"
                " '.', '_' and '-', else ~ and the base64url of its UTF-8 bytes, without padding.",
                "encode_id",
                details=[{"field": name, "message": "is not in the form in which answers give ids"}],
            )


def foreign_origin() -> ForbiddenError:
    """The refusal of a change that a page of somebody else's asks for."""
    return ForbiddenError("This request does not come from a page of the console.", "foreign_origin")


def _forwarded(event: Mapping[str, Any]) -> dict[str, Any]:
    token, by_cookie = token_for_backend(event["headers"], event.get("cookies") or [])
    if not token:
        raise UnauthenticatedError("Sign in first.")
    if by_cookie and event["requestContext"]["http"]["method"] not in SAFE_METHODS and not is_own_origin(event):
        raise foreign_origin()
    check_ids(event)
    from stowage.entry.upstream import forward

    return forward(event, token)


def is_forwarded(event: Mapping[str, Any]) -> bool:
    """Whether a backend answers this route instead of us (`stowage.entry.upstream`)."""
    path = event["routeKey"].partition(" ")[2]
    return bool(settings().backend_api_url) and path.startswith(MOUNTS)


def is_own_origin(event: Mapping[str, Any]) -> bool:
    """Whether Origin or Sec-Fetch-Site say that the page is same-origin or listed in ConsoleOrigins."""
    headers = event["headers"]
    origin = headers.get("origin")
    if origin is None:
        return bool(headers.get("sec-fetch-site") == "same-origin")
    listed = [listed.strip().rstrip("/") for listed in settings().console_origins.split(",")]
    return bool(origin) and origin in (*listed, base_url(event), _gateway_url(event))


def error_answer(error: Exception, request_id: str) -> dict[str, Any]:
    """The answer for anything raised: a StowageError's own words, the types' complaints, or a 500 without a message."""
    match error:
        case StowageError():
            return _refusal(error, error.status, request_id)
        case RequestUnsupportedContentType():
            return _refusal(UnsupportedTypeError("Send JSON."), 415, request_id)
        case RequestValidationError():
            details: list[Detail] = [
                {
                    "field": "" if found["type"] == "json_invalid" else _field_name(found["loc"]),
                    "message": message(found),
                }
                for found in error.errors()
            ]
            return _refusal(refusal(details), 400, request_id)
    logger.exception("unexpected error", request=request_id)
    return _refusal(StowageError("Something went wrong on our side."), 500, request_id)


def _refusal(error: StowageError, status: int, request_id: str) -> dict[str, Any]:
    body: Refusal = {
        "success": False,
        "error": _shortened(error.message),
        "message": _shortened(error.message),
        "code": error.code,
        "requestId": request_id,
    }
    if error.details:
        body["details"] = [
            {"field": _shortened(detail["field"]), "message": _shortened(detail["message"])}
            for detail in error.details[:MOST_DETAILS]
        ]
        body["detailCount"] = len(error.details)
    headers = {"content-type": "application/json"}
    if isinstance(error, UnauthenticatedError):
        headers["www-authenticate"] = "Bearer"
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    return {"statusCode": status, "headers": headers, "body": _json(body), "isBase64Encoded": False}


def _shortened(text: str) -> str:
    """The text, cut after 1,000 characters: a wrong name may have four million."""
    return text if len(text) <= LONGEST_WORDS else text[:LONGEST_WORDS] + "…"


def _field_name(location: tuple[str | int, ...]) -> str:
    """`("body", "items", 3, "status")` as a client would write it: `items[3].status`."""
    return field_name(location[1:] if location and location[0] in ("body", "query", "path", "header") else location)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_response[T](
    body: T, status: int = 200, headers: Mapping[str, str | list[str]] | None = None, cookies: list[Any] | None = None
) -> Response[T]:
    """An answer with headers of its own; the body is held against the route's return type all the same."""
    return Response(status, "application/json", body, dict(headers or {}), cookies)


def json_or_unchanged[T: BaseModel](has: Callable[[str], bool], body: T) -> Response[T | None]:
    """An answer with an entity tag of its own text, or 304 where the caller `has` that tag (RFC 9110 §13.1.2)."""
    tag = f'"{hashlib.sha256(body.model_dump_json().encode()).hexdigest()[:32]}"'
    headers: dict[str, str | list[str]] = {"ETag": tag, "Cache-Control": "no-cache"}
    if has(tag):
        return Response(304, headers=headers)
    return Response(200, "application/json", body, headers)
