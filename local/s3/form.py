"""The fields of a POST upload's form."""

import re

from local.aws_errors import AwsError


def parse(content_type: str, body: bytes) -> tuple[dict[str, str], int]:
    """The text fields before the file, and the file's size in bytes; AwsError where the form is broken."""
    match = re.search(r'boundary="?([^";]+)"?', content_type)
    if not match:
        raise AwsError(
            400, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data."
        )
    fields: dict[str, str] = {}
    for part in body.split(b"--" + match[1].encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        content = content.removesuffix(b"\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name and name[1] == b"file":
            return fields, len(content)
        if name:
            fields[name[1].decode()] = content.decode()
    raise AwsError(400, "InvalidArgument", "POST requires exactly one file upload per request.")
