"""Third-party modules that the fork server imports once, so that a new function worker starts in 30 ms.

Nothing of the product is among them: a worker imports that itself, as it stands on disk at that moment.
"""

import functools

import boto3
import boto3.dynamodb.conditions
import boto3.resources.factory
import botocore.auth
import botocore.httpsession
import botocore.retryhandler
import botocore.session
import jwt
import psycopg
import pydantic
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, middlewares, openapi

import local.function_worker

# Every session of a worker shares one loader, which keeps the service models: a client then costs
# milliseconds instead of a tenth of a second.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)
boto3.setup_default_session()
for service in ("dynamodb", "s3", "stepfunctions", "sqs", "secretsmanager"):
    boto3.client(service)

__all__ = [
    "APIGatewayHttpResolver",
    "boto3",
    "botocore",
    "jwt",
    "local",
    "middlewares",
    "openapi",
    "psycopg",
    "pydantic",
]
