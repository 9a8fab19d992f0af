"""Signature version 4 of S3 requests: headers, presigned links, POST policies.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

import base64
import datetime
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

from local.configuration import ACCESS_KEY, SECRET_KEY
from local.http_server import Request
from local.s3.errors import S3Error

ALGORITHM = "AWS4-HMAC-SHA256"
LONGEST_LINK_SECONDS = 7 * 86400
CLOCK_SKEW_SECONDS = 15 * 60
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)


def verify(request: Request) -> None:
    """Return where the request is signed with our key and in time; S3Error 403 otherwise."""
    query = _pairs(request.query)
    given = dict(query)
    if "X-Amz-Signature" in given:
        _verify_link(request, query, given)
    elif request.header("authorization").startswith(ALGORITHM):
        _verify_headers(request, query)
    elif "Signature" in given:
        # The older signature, which KMS and newer regions refuse.
        message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        raise S3Error(400, "InvalidRequest", message)
    else:
        raise S3Error(403, "AccessDenied", "Access Denied")


def _verify_link(request: Request, query: list[tuple[str, str]], given: dict[str, str]) -> None:
    try:
        signed_at = _time(given["X-Amz-Date"])
        lifetime = int(given["X-Amz-Expires"])
        signed_headers, credential = given["X-Amz-SignedHeaders"], given["X-Amz-Credential"]
    except (KeyError, ValueError) as error:
        message = (
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
        )
        message += "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        raise S3Error(400, "AuthorizationQueryParametersError", message) from error
    if not 0 < lifetime <= LONGEST_LINK_SECONDS:
        message = "X-Amz-Expires must be less than a week (in seconds)"
        raise S3Error(400, "AuthorizationQueryParametersError", message)
    now = datetime.datetime.now(datetime.UTC)
    expires = signed_at + datetime.timedelta(seconds=lifetime)
    unsigned = [(name, value) for name, value in query if name != "X-Amz-Signature"]
    _compare(
        request, unsigned, signed_headers, "UNSIGNED-PAYLOAD", given["X-Amz-Date"], credential, given["X-Amz-Signature"]
    )
    if now > expires:
        raise S3Error(
            403,
            "AccessDenied",
            "Request has expired",
            **{"X-Amz-Expires": str(lifetime), "Expires": _iso(expires), "ServerTime": _iso(now)},
        )


def _verify_headers(request: Request, query: list[tuple[str, str]]) -> None:
    fields = dict(re.findall(r"(\w+)=([^,\s]+)", request.header("authorization")))
    try:
        credential, signed_headers, signature = fields["Credential"], fields["SignedHeaders"], fields["Signature"]
        date = request.header("x-amz-date")
        signed_at = _time(date)
    except (KeyError, ValueError) as error:
        raise S3Error(400, "AuthorizationHeaderMalformed", "The authorization header is malformed.") from error
    if abs((datetime.datetime.now(datetime.UTC) - signed_at).total_seconds()) > CLOCK_SKEW_SECONDS:
        message = "The difference between the request time and the current time is too large."
        raise S3Error(403, "RequestTimeTooSkewed", message)
    digest = request.header("x-amz-content-sha256")
    _compare(request, query, signed_headers, digest, date, credential, signature)
    # A checksum is compared when the body is written; reading it twice would cost a large part's time again.
    hashed = re.fullmatch(r"[0-9a-f]{64}", digest) and not request.header("x-amz-checksum-crc32")
    if hashed and hashlib.sha256(request.body).hexdigest() != digest:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise S3Error(400, "XAmzContentSHA256Mismatch", message)


def _compare(
    request: Request,
    query: list[tuple[str, str]],
    signed_headers: str,
    digest: str,
    date: str,
    credential: str,
    signature: str,
) -> None:
    headers = {name: " ".join(request.header(name).split()) for name in signed_headers.split(";")}
    canonical = "\n".join(
        [
            request.method,
            request.path,
            "&".join(f"{_quote(name)}={_quote(value)}" for name, value in _sorted(query)),
            "".join(f"{name}:{value}\n" for name, value in headers.items()),
            signed_headers,
            digest,
        ]
    )
    scope = _scope(credential)
    text = "\n".join([ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    if not hmac.compare_digest(_sign(scope, text), signature):
        raise S3Error(403, "SignatureDoesNotMatch", MISMATCH)


def verify_policy(form: dict[str, str], bucket: str, size: int) -> None:
    """Return where a POST form's policy is ours, lives, and allows these fields and this size; S3Error otherwise.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
    """
    fields = {name.lower(): value for name, value in form.items()}
    if not {"policy", "x-amz-signature", "x-amz-credential"} <= fields.keys():
        raise S3Error(403, "AccessDenied", "Access Denied")
    if not hmac.compare_digest(_sign(_scope(fields["x-amz-credential"]), fields["policy"]), fields["x-amz-signature"]):
        raise S3Error(403, "SignatureDoesNotMatch", MISMATCH)
    policy = json.loads(base64.b64decode(fields["policy"]))
    expires = datetime.datetime.fromisoformat(policy["expiration"])
    if datetime.datetime.now(datetime.UTC) > expires:
        raise S3Error(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
    allowed = {"policy", "x-amz-signature", "file"}
    for condition in policy["conditions"]:
        allowed.add(_check(condition, fields | {"bucket": bucket}, size))
    extra = [name for name in fields if name not in allowed and not name.startswith("x-ignore-")]
    if extra:
        raise S3Error(403, "AccessDenied", f"Invalid according to Policy: Extra input fields: {', '.join(extra)}")


def _check(condition: Any, fields: dict[str, str], size: int) -> str:
    """The name of the field that the condition is about; S3Error where it does not hold."""
    if isinstance(condition, dict):
        [(name, wanted)] = condition.items()
        condition = ["eq", f"${name}", wanted]
    operator, name, wanted = str(condition[0]).lower(), condition[1], condition[2]
    if operator == "content-length-range":
        if size < int(name):
            raise S3Error(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        if size > int(wanted):
            raise S3Error(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        return "content-length-range"
    field = name.removeprefix("$").lower()
    value = fields.get(field, "")
    holds: bool = value == wanted if operator == "eq" else value.startswith(wanted)
    if not holds:
        raise S3Error(
            403, "AccessDenied", f"Invalid according to Policy: Policy Condition failed: {json.dumps(condition)}"
        )
    return str(field)


def _scope(credential: str) -> str:
    key, _, scope = unquote(credential).partition("/")
    if key != ACCESS_KEY:
        raise S3Error(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    if not re.fullmatch(r"\d{8}/[\w-]+/s3/aws4_request", scope):
        raise S3Error(400, "AuthorizationHeaderMalformed", "The credential scope is malformed.")
    return scope


def _sign(scope: str, text: str) -> str:
    key = b"AWS4" + SECRET_KEY.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _pairs(query: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in query.split("&") if part]
    return [(unquote(name), unquote(value)) for name, _, value in parts]


def _sorted(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(pairs, key=lambda pair: (_quote(pair[0]), _quote(pair[1])))


def _quote(text: str) -> str:
    return quote(text, safe="-_.~")


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)


def _iso(when: datetime.datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
