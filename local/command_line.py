"""The command line of `python -m local`."""

import argparse
import os
import sys
from collections.abc import Sequence

from local.configuration import ROOT, from_environment
from local.console import StartError, say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `up` or `demo`; does not return once it has started, as a thread may still wait for a connection to close."""
    given = parser().parse_args(arguments)
    os.chdir(ROOT)
    # The environment may forbid bytecode to a person's own scripts; our processes start three times faster with it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        configuration = from_environment(port=given.port, aws_port=given.aws_port, home=given.home, sample=given.sample)
    except StartError as error:
        say(str(error))
        return 1
    from local.stack import run_until_stopped

    if given.command == "demo":
        from local.demo import demonstrate

        code = run_until_stopped(configuration, lambda stack, stopping: demonstrate(stack, stopping, once=given.once))
    else:
        code = run_until_stopped(configuration)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog="python -m local", description="The whole product on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (
        ("up", "Start everything and serve until Ctrl-C."),
        ("demo", "The same, and show it at work."),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("--port", type=int, help="of the HTTP API (STOWAGE_PORT, 8080)")
        command.add_argument("--aws-port", type=int, help="of AWS's own APIs (STOWAGE_AWS_PORT, 8081)")
        command.add_argument("--home", help="folder of all data (STOWAGE_HOME, .stowage)")
        command.add_argument("--no-sample", dest="sample", action="store_false", help="without the sample tenants")
        if name == "demo":
            command.add_argument("--once", action="store_true", help="end after the demonstration")
    return parser
