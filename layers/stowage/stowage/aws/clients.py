"""The clients of AWS, made at first use and kept: a cold start pays only for those that its call needs.

Made through botocore's session: boto3 would add resources that nobody here uses (measured: 2.6 MB, 15 ms).
"""

from functools import cache
from typing import Any

import botocore
import botocore.session
from botocore.config import Config

CONNECT_SECONDS = 5
READ_SECONDS = 30
"""Bounds one silence, not one call: S3 keeps a long CompleteMultipartUpload alive with white space."""
TABLE_READ_SECONDS = 5
"""DynamoDB answers in milliseconds or not at all, and the function that asks has 29 seconds."""
ATTEMPTS = 5
USER_AGENT = f"stowage Botocore/{botocore.__version__}"
"""botocore's own is put together twice a call: a tenth of the processor time of a read in DynamoDB (0.3 ms)."""


@cache
def s3() -> Any:
    """Give the client of S3: signature version 4 (KMS refuses links of version 2), bucket in the host name.

    Bodies are not hashed for the signature: TLS and the CRC32 that we give guard them (botocore's own choice for parts
    over TLS).
    """
    options = {"addressing_style": "virtual", "payload_signing_enabled": False}
    return _client("s3", s3=options, signature_version="s3v4")


@cache
def dynamodb() -> Any:
    """Give the client of DynamoDB."""
    return _client("dynamodb", TABLE_READ_SECONDS)


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


def _client(service: str, read_seconds: int = READ_SECONDS, **options: Any) -> Any:
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        tcp_keepalive=True,
        user_agent=USER_AGENT,
        **options,
    )
    return _session().create_client(service, config=config)


@cache
def stepfunctions() -> Any:
    """Give the client of Step Functions."""
    return _client("stepfunctions")


@cache
def sqs() -> Any:
    """Give the client of SQS."""
    return _client("sqs")


@cache
def secretsmanager() -> Any:
    """Give the client of Secrets Manager."""
    return _client("secretsmanager")


@cache
def lambda_client() -> Any:
    """Give the client of Lambda."""
    return _client("lambda")


@cache
def sesv2() -> Any:
    """Give the client of SES."""
    return _client("sesv2")
