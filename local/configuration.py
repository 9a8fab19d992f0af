"""Where the local stack lives, as its environment and command line decide."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from local.console import StartError

ROOT = Path(__file__).resolve().parent.parent
ACCOUNT = "123456789012"
REGION = "us-east-1"
ACCESS_KEY = "local"
SECRET_KEY = "local"  # noqa: S105  everything that it opens runs on this machine, for its user


def layers(root: Path) -> tuple[Path, Path]:
    """The layers' folders of a checkout, as functions and the worker have them on their path."""
    return root / "layers" / "stowage", root / "layers" / "entities"


@dataclass(frozen=True)
class Configuration:
    """One local stack."""

    port: int
    aws_port: int
    home: Path
    database_url: str | None
    scale: int
    sample: bool = True
    root: Path = field(default=ROOT)

    @property
    def api_url(self) -> str:
        """Where the HTTP API answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def aws_endpoint_url(self) -> str:
        """Where AWS's own APIs answer. An address and no name, because boto3 then uses path-style URLs for S3."""
        return f"http://127.0.0.1:{self.aws_port}"

    @property
    def logs(self) -> Path:
        """The folder of the logs of functions, worker and Postgres."""
        return self.home / "logs"

    @property
    def stack_file(self) -> Path:
        """The file that tells other tools about the running stack."""
        return self.home / "stack.json"


def from_environment(*, port: int | None, aws_port: int | None, home: str | None, sample: bool) -> Configuration:
    """The configuration; what the command line leaves out comes from STOWAGE_PORT, STOWAGE_AWS_PORT, STOWAGE_HOME.

    StartError for a variable that is not the number it should be.
    """
    return Configuration(
        port=port or _whole("STOWAGE_PORT", 8080),
        aws_port=aws_port or _whole("STOWAGE_AWS_PORT", 8081),
        home=Path(home or os.environ.get("STOWAGE_HOME") or ROOT / ".stowage").resolve(),
        database_url=os.environ.get("STOWAGE_DATABASE_URL") or None,
        scale=_whole("SCALE", 1),
        sample=sample,
    )


def _whole(variable: str, default: int) -> int:
    given = os.environ.get(variable) or str(default)
    if not (given.isascii() and given.isdecimal() and int(given) > 0):
        raise StartError(f"{variable}={given} is not a whole number from 1 up.")
    return int(given)


def process_environment(configuration: Configuration) -> dict[str, str]:
    """What every process of the product gets besides the template's variables: what AWS gives, and our endpoint.

    Nothing of the shell's own AWS settings or proxies may reach it.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "PYTHONUNBUFFERED": "1",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": configuration.aws_endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
    }
