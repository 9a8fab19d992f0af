"""AWS's errors in the form of each service's protocol.

S3: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
Others: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html (-restjson1-, -query-)
"""

import json
import uuid
from xml.sax.saxutils import escape

from local.http_server import Headers, RefusedError, Response

_QUERY_CODES = {
    "UnrecognizedClientException": "InvalidClientTokenId",
    "InvalidSignatureException": "SignatureDoesNotMatch",
}


class AwsError(Exception):
    """An answer other than success: status, code and message, and further elements for S3."""

    def __init__(self, status: int, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details

    def response(self, service: str) -> Response:
        """The error as this service words it."""
        request_id = str(uuid.uuid4())
        match service:
            case "s3":
                elements = {"Code": self.code, "Message": self.message, **self.details, "RequestId": request_id}
                return _xml(self.status, f"<Error>{_elements(elements)}</Error>", ("x-amz-request-id", request_id))
            case "sns" | "iam" | "sts":
                code = _QUERY_CODES.get(self.code, self.code.removesuffix("Exception"))
                error = _elements({"Type": "Sender", "Code": code, "Message": self.message})
                body = f"<ErrorResponse><Error>{error}</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
                return _xml(self.status, body, ("x-amzn-requestid", request_id))
        headers = [("x-amzn-requestid", request_id), ("x-amzn-errortype", self.code)]
        headers.append(("content-type", "application/json" if service == "lambda" else "application/x-amz-json-1.1"))
        body = json.dumps({"__type": self.code, "message": self.message, "Message": self.message})
        return Response(self.status, headers, body.encode())


def _elements(values: dict[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())


def _xml(status: int, element: str, request_id: tuple[str, str]) -> Response:
    headers: Headers = [("content-type", "application/xml"), request_id]
    return Response(status, headers, f'<?xml version="1.0" encoding="UTF-8"?>\n{element}'.encode())


_S3_CODES = {
    400: "BadRequest",
    403: "AccessForbidden",
    408: "RequestTimeout",
    413: "EntityTooLarge",
    414: "RequestURITooLong",
    431: "RequestHeaderSectionTooLarge",
    500: "InternalError",
    501: "NotImplemented",
}
_OTHER_CODES = {403: "AccessDeniedException", 413: "RequestEntityTooLargeException", 500: "InternalFailure"}


def refuse(error: RefusedError, service: str) -> Response:
    """What the server itself refuses, before anybody looks at what the request wants."""
    if service == "s3":
        # S3 has no 408 and no 431: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
        status = 400 if error.status in (408, 414, 431) else error.status
        return AwsError(status, _S3_CODES.get(error.status, "BadRequest"), error.sentence).response(service)
    return AwsError(error.status, _OTHER_CODES.get(error.status, "BadRequestException"), error.sentence).response(
        service
    )
