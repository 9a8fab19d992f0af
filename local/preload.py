"""Third-party modules that the fork server imports once, so that a new function worker starts in 30 ms.

Nothing of the product is among them: a worker imports that itself, as it stands on disk at that moment.
"""

import functools

import botocore.auth
import botocore.httpsession
import botocore.retryhandler
import botocore.session
import jwt
import psycopg
import pydantic
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, middlewares, openapi

import local.function_worker
from local.configuration import REGION

# Every session of a worker shares one loader, which keeps the service models: a client then costs
# milliseconds instead of a tenth of a second.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)
session = botocore.session.get_session()
for service in ("dynamodb", "s3", "stepfunctions", "sqs", "secretsmanager"):
    session.create_client(service, region_name=REGION)

__all__ = [
    "APIGatewayHttpResolver",
    "botocore",
    "jwt",
    "local",
    "middlewares",
    "openapi",
    "psycopg",
    "pydantic",
]
