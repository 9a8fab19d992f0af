"""What a function that reports partial failures says of its batch."""

import json

from local.function_pool import Outcome


def failed_identifiers(outcome: Outcome) -> set[str] | None:
    """The identifiers of failed records; None where the whole batch failed, an answer that makes no sense included.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if outcome.error:
        return None
    try:
        answer = json.loads(outcome.payload) or {}
        return {str(failure["itemIdentifier"]) for failure in answer.get("batchItemFailures") or []}
    except (AttributeError, KeyError, TypeError):
        return None
