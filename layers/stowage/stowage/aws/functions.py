"""Functions called by functions."""

from stowage.aws.clients import lambda_client


def invoke_later(function: str) -> None:
    """Have a function called, soon and at least once, without an event; nobody waits for it."""
    lambda_client().invoke(FunctionName=function, InvocationType="Event", Payload=b"{}")
