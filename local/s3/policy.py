"""The policies of S3's POST uploads.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

import base64
import datetime
import hmac
import json
from typing import Any

from local.aws_errors import AwsError
from local.signature import UNSIGNED, WRONG, scope_of, sign


def verify(form: dict[str, str], bucket: str, size: int) -> None:
    """Return where a POST form's policy is ours, lives, and allows these fields and this size; AwsError otherwise."""
    fields = {name.lower(): value for name, value in form.items()}
    if not {"policy", "x-amz-signature", "x-amz-credential"} <= fields.keys():
        raise UNSIGNED.error("s3")
    signature = sign(scope_of(fields["x-amz-credential"], "s3"), fields["policy"])
    if not hmac.compare_digest(signature.encode(), fields["x-amz-signature"].encode()):
        raise WRONG.error("s3")
    policy = json.loads(base64.b64decode(fields["policy"]))
    expires = datetime.datetime.fromisoformat(policy["expiration"])
    if datetime.datetime.now(datetime.UTC) > expires:
        raise AwsError(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
    allowed = {"policy", "x-amz-signature", "file"}
    for condition in policy["conditions"]:
        allowed.add(_check(condition, fields | {"bucket": bucket}, size))
    extra = [name for name in fields if name not in allowed and not name.startswith("x-ignore-")]
    if extra:
        raise AwsError(403, "AccessDenied", f"Invalid according to Policy: Extra input fields: {', '.join(extra)}")


def _check(condition: Any, fields: dict[str, str], size: int) -> str:
    """The name of the field that the condition is about; AwsError where it does not hold."""
    if isinstance(condition, dict):
        [(name, wanted)] = condition.items()
        condition = ["eq", f"${name}", wanted]
    operator, name, wanted = str(condition[0]).lower(), condition[1], condition[2]
    if operator == "content-length-range":
        if size < int(name):
            raise AwsError(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        if size > int(wanted):
            raise AwsError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        return "content-length-range"
    field = name.removeprefix("$").lower()
    value = fields.get(field, "")
    holds: bool = value == wanted if operator == "eq" else value.startswith(wanted)
    if not holds:
        raise AwsError(
            403, "AccessDenied", f"Invalid according to Policy: Policy Condition failed: {json.dumps(condition)}"
        )
    return str(field)
