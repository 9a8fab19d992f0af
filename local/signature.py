"""Signature version 4 of requests to any service, in headers; of S3's also in links.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import datetime
import functools
import hashlib
import hmac
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from local.aws_errors import AwsError
from local.configuration import ACCESS_KEY, SECRET_KEY
from local.http_server import Request

ALGORITHM = "AWS4-HMAC-SHA256"
LONGEST_LINK_SECONDS = 7 * 86400
CLOCK_SKEW_SECONDS = 15 * 60
_MISMATCH = "The request signature we calculated does not match the signature you provided. Check your "
_LINK = (
    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
    "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
)
_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_CREDENTIAL = re.compile(r"([^/]+)/(\d{8}/[\w-]+/([\w-]+)/aws4_request)", re.ASCII)


@dataclass(frozen=True)
class Refusal:
    """One reason: how S3 says it (status, code, message), and the code and message of every other service."""

    s3: tuple[int, str, str]
    code: str = "IncompleteSignatureException"
    message: str = "The Authorization header is malformed."

    def error(self, service: str) -> AwsError:
        """The error in a service's words: JSON services answer 400, Lambda's REST API 403."""
        if service == "s3":
            return AwsError(*self.s3)
        return AwsError(403 if service in ("lambda", "sns") else 400, self.code, self.message)


UNSIGNED = Refusal(
    (403, "AccessDenied", "Access Denied"), "MissingAuthenticationTokenException", "Missing Authentication Token"
)
MALFORMED = Refusal((400, "AuthorizationHeaderMalformed", "The authorization header is malformed."))
UNKNOWN_KEY = Refusal(
    (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
    "UnrecognizedClientException",
    "The security token included in the request is invalid.",
)
OTHER_SERVICE = Refusal(
    (400, "AuthorizationHeaderMalformed", "The authorization header is malformed; incorrect service."),
    "InvalidSignatureException",
    "Credential should be scoped to correct service.",
)
SKEWED = Refusal(
    (403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."),
    "InvalidSignatureException",
    "Signature expired or not yet current.",
)
WRONG = Refusal(
    (403, "SignatureDoesNotMatch", _MISMATCH + "key and signing method."),
    "InvalidSignatureException",
    _MISMATCH + "AWS Secret Access Key and signing method. Consult the service documentation for details.",
)
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html"""


def service_of(request: Request) -> str:
    """The service that a request is signed for; empty where it bears no signature in its headers."""
    scope = re.search(r"Credential=[^/,\s]+/\d+/[^/,\s]+/([\w-]+)/", request.header("authorization"))
    return scope[1] if scope else ""


def verify(request: Request, service: str) -> None:
    """Return where the request is signed with our key, for this service and in time; AwsError otherwise."""
    query = _pairs(request.query)
    given = dict(query)
    if service == "s3" and "X-Amz-Signature" in given:
        _verify_link(request, query, given)
    elif request.header("authorization").startswith(ALGORITHM):
        _verify_headers(request, query, service)
    elif service == "s3" and "Signature" in given:
        # The older signature, which KMS and newer regions refuse.
        message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        raise AwsError(400, "InvalidRequest", message)
    else:
        raise UNSIGNED.error(service)


def _verify_link(request: Request, query: list[tuple[str, str]], given: dict[str, str]) -> None:
    try:
        signed_at = _time(given["X-Amz-Date"])
        lifetime = int(given["X-Amz-Expires"])
        signed_headers, credential = given["X-Amz-SignedHeaders"], given["X-Amz-Credential"]
    except (KeyError, ValueError) as error:
        raise AwsError(400, "AuthorizationQueryParametersError", _LINK) from error
    if not 0 < lifetime <= LONGEST_LINK_SECONDS:
        message = "X-Amz-Expires must be less than a week (in seconds)"
        raise AwsError(400, "AuthorizationQueryParametersError", message)
    now = datetime.datetime.now(datetime.UTC)
    expires = signed_at + datetime.timedelta(seconds=lifetime)
    unsigned = [(name, value) for name, value in query if name != "X-Amz-Signature"]
    date, signature = given["X-Amz-Date"], given["X-Amz-Signature"]
    _compare(request, "s3", unsigned, signed_headers, "UNSIGNED-PAYLOAD", date, credential, signature)
    if now > expires:
        details = {"X-Amz-Expires": str(lifetime), "Expires": _iso(expires), "ServerTime": _iso(now)}
        raise AwsError(403, "AccessDenied", "Request has expired", **details)


def _verify_headers(request: Request, query: list[tuple[str, str]], service: str) -> None:
    fields = dict(re.findall(r"(\w+)=([^,\s]+)", request.header("authorization")))
    try:
        credential, signed_headers, signature = fields["Credential"], fields["SignedHeaders"], fields["Signature"]
        date = request.header("x-amz-date")
        signed_at = _time(date)
    except (KeyError, ValueError) as error:
        raise MALFORMED.error(service) from error
    if abs((datetime.datetime.now(datetime.UTC) - signed_at).total_seconds()) > CLOCK_SKEW_SECONDS:
        raise SKEWED.error(service)
    if service != "s3":
        digest = hashlib.sha256(request.body).hexdigest()
        return _compare(request, service, query, signed_headers, digest, date, credential, signature)
    digest = request.header("x-amz-content-sha256")
    _compare(request, service, query, signed_headers, digest, date, credential, signature)
    # A checksum is compared when the body is written; reading it twice would cost a large part's time again.
    hashed = re.fullmatch(r"[0-9a-f]{64}", digest) and not request.header("x-amz-checksum-crc32")
    if hashed and hashlib.sha256(request.body).hexdigest() != digest:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise AwsError(400, "XAmzContentSHA256Mismatch", message)
    return None


def _compare(
    request: Request,
    service: str,
    query: list[tuple[str, str]],
    signed_headers: str,
    digest: str,
    date: str,
    credential: str,
    signature: str,
) -> None:
    names = signed_headers.split(";")
    headers = {name: ",".join(" ".join(value.split()) for value in request.all_headers(name)) for name in names}
    canonical = "\n".join(
        [
            request.method,
            request.path if service == "s3" else _normalized(request.path),
            "&".join(f"{_quote(name)}={_quote(value)}" for name, value in _sorted(query)),
            "".join(f"{name}:{value}\n" for name, value in headers.items()),
            signed_headers,
            digest,
        ]
    )
    scope = scope_of(credential, service)
    text = "\n".join([ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    if "host" not in names or not hmac.compare_digest(sign(scope, text).encode(), signature.encode()):
        raise WRONG.error(service)


def scope_of(credential: str, service: str) -> str:
    """The scope of our key's credential for a service; AwsError where it is another key's or service's."""
    match = _CREDENTIAL.fullmatch(unquote(credential))
    if match is None:
        raise MALFORMED.error(service)
    if match[1] != ACCESS_KEY:
        raise UNKNOWN_KEY.error(service)
    if match[3] != service:
        raise OTHER_SERVICE.error(service)
    return match[2]


def sign(scope: str, text: str) -> str:
    """The signature of a text in a scope, in hexadecimal digits."""
    return hmac.digest(_key(scope), text.encode(), "sha256").hex()


@functools.lru_cache(maxsize=64)
def _key(scope: str) -> bytes:
    key = b"AWS4" + SECRET_KEY.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _normalized(path: str) -> str:
    """Every service but S3 signs the path without dots, and encoded once more than it is sent."""
    return quote(posixpath.normpath("/" + path.lstrip("/")) + ("/" if path.endswith("/") and path != "/" else ""), "/~")


def _pairs(query: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in query.split("&") if part]
    return [(unquote(name), unquote(value)) for name, _, value in parts]


def _sorted(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(pairs, key=lambda pair: (_quote(pair[0]), _quote(pair[1])))


def _quote(text: str) -> str:
    return quote(text, safe="-_.~")


def _time(text: str) -> datetime.datetime:
    if not _TIME.fullmatch(text):
        raise ValueError(text)
    return datetime.datetime.fromisoformat(text)


def _iso(when: datetime.datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
