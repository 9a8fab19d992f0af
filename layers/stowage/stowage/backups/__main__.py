"""`python -m stowage.backups`: what is done to all backups at once, by whoever may write the table and the bucket."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from stowage.aws.objects import REFUSALS
from stowage.backups.rebuilding import rebuild
from stowage.basics.errors import StowageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when all is well, 1 when a backup was left, 2 for a command that is none."""
    given = parser().parse_args(arguments)
    os.environ |= {"STOWAGE_TABLE": given.table, "STOWAGE_BACKUPS_BUCKET": given.bucket}
    try:
        return _rebuild(given)
    except StowageError as error:
        print(f"error: {error.message}", file=sys.stderr)
    except REFUSALS as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog="python -m stowage.backups", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    told = "Write the records of backups that the table does not know, from the manifests beside their files."
    rebuilding = commands.add_parser("rebuild", help=told, description=told)
    rebuilding.add_argument("--table", required=True, help="the stack's Table")
    rebuilding.add_argument("--bucket", required=True, help="the stack's BackupsBucket")
    rebuilding.add_argument("--tenant", help="of this tenant's id alone")
    rebuilding.add_argument("--dry-run", action="store_true", help="write nothing, and say what would be written")
    return parser


def _rebuild(given: argparse.Namespace) -> int:
    counts: Counter[str] = Counter()
    left = 0
    for found in rebuild(datetime.now(UTC), tenant=given.tenant, writes=not given.dry_run):
        counts["left" if found.is_left else found.outcome] += 1
        left += found.is_left
        if found.is_left:
            print(f"left: {found.key}: {found.outcome}", file=sys.stderr)
        if sys.stderr.isatty():
            print(f"\r{counts.total():,} looked at", end="", file=sys.stderr)
    made = "would be rebuilt" if given.dry_run else "rebuilt"
    print(f"{counts['rebuilt']:,} {made}, {counts['known']:,} known already, {left:,} left.")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
