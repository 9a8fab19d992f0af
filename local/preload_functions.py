"""What the functions' workers need from others than the product, imported once (local/fork_server.py)."""

import botocore.auth
import botocore.httpsession
import botocore.retryhandler
import jwt
import psycopg
import pydantic
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, middlewares, openapi

from local.shared_loader import share_loader

share_loader("dynamodb", "s3", "stepfunctions", "sqs", "secretsmanager")

__all__ = ["APIGatewayHttpResolver", "botocore", "jwt", "middlewares", "openapi", "psycopg", "pydantic"]
