"""`make reference`: writes docs/reference.md, every parameter, variable and command, from what declares them."""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from local.template import parse_yaml

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs/reference.md"

VARIABLES = {
    "STOWAGE_PORT": "port of the local API (8080)",
    "STOWAGE_AWS_PORT": "port of the local AWS APIs (8081)",
    "STOWAGE_HOME": "folder of all local data (`.stowage`)",
    "STOWAGE_DATABASE_URL": "a Postgres server of yours for the local stack, as its superuser",
    "STOWAGE_PARAMETER_ExportsPerDay": "a parameter of the template for the local stack, and so each by its name",
    "STOWAGE_TOKEN": "the token with which `register --wait` and the command `stowage` ask the API",
    "STOWAGE_URL": "the API that the command `stowage` (clients/python) asks",
    "STOWAGE_TEST_STACK": "`.stowage/stack.json` of a running stack, on which the tests run instead of their own",
    "STOWAGE_TEST_DATABASE_URL": "a server for the tests that make databases of their own",
    "STOWAGE_BROWSER": "the browser of the tests that need one",
    "STOWAGE_SCREENSHOTS": "a folder in which the tests of pages leave pictures",
    "STOWAGE_RUN_ID": "set by the state machine for the worker: the run",
    "STOWAGE_ATTEMPT": "set by the state machine for the worker: which attempt it is",
    "SCALE": "how many times the sample data is loaded, for tenants that are not there yet (1)",
}
"""What is read from the environment, but for what the template sets from its parameters of the same names."""


def reference() -> str:
    """The document's text."""
    parts = [
        "# Reference",
        "Every parameter, variable and command, written by `make reference` from what declares them.",
        "## Parameters",
        "Of `template.yaml`, which hands them to functions and the worker as variables.",
        "| parameter | default | what it decides |\n|---|---|---|\n" + "\n".join(_parameters()),
        "## Variables",
        "| variable | what it decides |\n|---|---|\n"
        + "\n".join(f"| `{name}` | {what} |" for name, what in VARIABLES.items()),
        "## Commands",
        "| command | what it does |\n|---|---|\n" + "\n".join(_make()),
    ]
    for parser in parsers():
        parts.append(f"### {parser.prog}")
        parts += _command(parser)
    return "\n\n".join(parts) + "\n"


def parsers() -> list[argparse.ArgumentParser]:
    """The parsers of the commands that people give."""
    from local import breaking, command_line
    from stowage.backups import __main__ as backups
    from stowage.entities import __main__ as entities
    from stowage.postgres import __main__ as postgres
    from stowage_client import command

    ours = [command_line.parser(), postgres.parser(), entities.parser(), backups.parser(), breaking.parser()]
    return [*ours, command.parser()]


def _parameters() -> Iterator[str]:
    for name, parameter in parse_yaml((ROOT / "template.yaml").read_text())["Parameters"].items():
        default = f"`{parameter['Default']}`" if parameter.get("Default", "") != "" else "none"
        given = default if "Default" in parameter else "must be given"
        yield f"| `{name}` | {given} | {parameter['Description']} |"


def _make() -> Iterator[str]:
    for name, what in re.findall(r"^([a-z-]+):.*## (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE):
        yield f"| `make {name}` | {what} |"


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    """What a command does, its options, and those of what it can be told to do."""
    if parser.description:
        yield textwrap.fill(" ".join(parser.description.split()), 100)
    if options := [*_options(parser)]:
        yield "\n".join(options)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield f"`{parser.prog} {name}`: {command.description}"
                if options := [*_options(command)]:
                    yield "\n".join(options)


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        name = action.option_strings[0] if action.option_strings else (action.metavar or action.dest.upper())
        value = f" {action.metavar or action.dest.upper()}" if action.option_strings and action.nargs != 0 else ""
        yield f"- `{name}{value}`: {_in_backticks(action.help or '')}"


def _in_backticks(text: str) -> str:
    return re.sub(r"\b[A-Z]+(_[A-Z]+)+\b", r"`\g<0>`", text)


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / part) for part in ("layers/stowage", "layers/entities")]
    REFERENCE.write_text(reference())
