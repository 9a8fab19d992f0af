"""S3's errors as it writes them."""

import uuid
from xml.sax.saxutils import escape

from local.http_server import Response


class S3Error(Exception):
    """An answer of S3 other than success.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """

    def __init__(self, status: int, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details

    def response(self) -> Response:
        """The error as XML."""
        request_id = uuid.uuid4().hex[:16].upper()
        elements = {"Code": self.code, "Message": self.message, **self.details, "RequestId": request_id}
        body = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
        document = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{body}</Error>'
        headers = [("content-type", "application/xml"), ("x-amz-request-id", request_id)]
        return Response(self.status, headers, document.encode())
