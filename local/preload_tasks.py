"""What the worker's image holds beside the product, imported once (local/fork_server.py)."""

import botocore.auth
import botocore.httpsession
import botocore.retryhandler
import psycopg
import pydantic

from local.shared_loader import share_loader

share_loader("dynamodb", "s3")

__all__ = ["botocore", "psycopg", "pydantic"]
