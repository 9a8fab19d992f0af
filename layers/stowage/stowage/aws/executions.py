"""Executions of the state machine that drives a run."""

import json

from botocore.exceptions import ClientError

from stowage.aws.clients import stepfunctions
from stowage.settings import settings


def start_execution(name: str, given: dict[str, object]) -> None:
    """Start an execution of that name; one that was started before, running or ended, is left alone."""
    try:
        stepfunctions().start_execution(
            stateMachineArn=settings().state_machine, name=name, input=json.dumps(given, sort_keys=True)
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
            raise


def stop_execution(name: str, reason: str) -> None:
    """Stop an execution, and the task it waits for; no error where it does not run."""
    try:
        stepfunctions().stop_execution(executionArn=_arn(name), error="Stopped", cause=reason)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ExecutionDoesNotExist", "ValidationException"):
            raise


def execution_status(name: str) -> str | None:
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED; None where there never was one."""
    try:
        return str(stepfunctions().describe_execution(executionArn=_arn(name))["status"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
            return None
        raise


def _arn(name: str) -> str:
    return settings().state_machine.replace(":stateMachine:", ":execution:") + ":" + name
