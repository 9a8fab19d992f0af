"""The template's parameters as this machine deploys it."""

from local.configuration import Configuration
from local.mail import SENDER

ENVIRONMENT_PREFIX = "STOWAGE_PARAMETER_"


def parameters(configuration: Configuration, database_url: str, overrides: dict[str, str]) -> dict[str, str]:
    """Values by parameter name; `overrides` win. The limits are those of someone who tries things out.

    Tests and benchmarks set one with `STOWAGE_PARAMETER_<name>` in the environment.
    """
    port = configuration.port
    return {
        "DatabaseUrl": database_url,
        "DatabaseLogin": "none",
        "SubnetIds": "subnet-local1,subnet-local2",
        "SecurityGroupIds": "sg-local",
        "WorkerImage": "local",
        "ConsoleOrigins": f"http://127.0.0.1:{port},http://localhost:{port},http://localhost:3000",
        "ExportsPerDay": "10000",
        "GdprExportsPerDay": "1000",
        "BackupsPerMinute": "1000",
        "RetrySeconds": "2",
        "NotifySender": SENDER,
    } | overrides


def overrides(environment: dict[str, str]) -> dict[str, str]:
    """The parameters that the environment sets."""
    return {
        name.removeprefix(ENVIRONMENT_PREFIX): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }
