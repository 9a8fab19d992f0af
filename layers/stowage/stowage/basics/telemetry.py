"""Structured logs and metrics. No metric has a tenant as its dimension: each would cost by itself."""

from aws_lambda_powertools import Logger

logger = Logger(use_rfc3339=True)
