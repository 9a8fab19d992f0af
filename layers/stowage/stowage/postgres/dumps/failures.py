"""What pg_dump and the server say when a dump fails, as our errors: worth another attempt or not,
in words that a person can act on, and without any of the rows.
"""

import re
import signal
from collections.abc import Sequence

import psycopg

from stowage.basics.errors import RunError, TransientRunError
from stowage.postgres.session.refusals import REFUSALS, refusal
from stowage.postgres.session.row_security import CODE as ROW_SECURITY
from stowage.postgres.session.row_security import is_row_security

Sign = tuple[str, str, str]
"""What is said (a regular expression), our code for it, our sentence: `{}` is what the expression
caught, `{schema}` the schema, `{words}` pg_dump's last words.
"""

PERMANENT: Sequence[Sign] = (
    *REFUSALS,
    (r"permission denied for (\w+ \S+)", "permission_denied", "The dump role may not read {}."),
    (r"lacks? (?:SELECT )?privilege", "permission_denied", "The dump role may not read everything in {schema}."),
    (r"may lack SELECT privilege on the sequence", "permission_denied", "The dump role may not read a sequence."),
    (r"no matching schemas were found", "schema_missing", "There is no schema {schema}."),
    (r"server version mismatch", "server_newer", "The server is newer than pg_dump."),
    (r"row-level security policy for table (\S+)", ROW_SECURITY, "Row-level security hides rows of {}."),
    (
        r"invalid memory alloc request size|Cannot enlarge string buffer|string buffer exceeds",
        "value_too_large",
        "A row is larger than Postgres can write out, which is 1 GB as text. {words}",
    ),
    (
        r"missing chunk number|unexpected chunk |data is corrupt|invalid page in block|could not read blocks? "
        r"|could not access status of transaction|could not open file",
        "data_corrupt",
        "The database is damaged, and no backup of this table can be made before it is mended. {words}",
    ),
    (r"(?m)^pg_dump: error: (?:(?!ERROR:).)*No space left", "disk_full", "The worker's disk is full. {words}"),
)
TRANSIENT: Sequence[Sign] = (
    # --lock-wait-timeout is a statement_timeout to the server
    (r"(?:lock|statement) timeout", "lock_timeout", "A table of {schema} stayed locked."),
    (r"out of (?:shared )?memory", "out_of_memory", "There was not enough memory for the dump. {words}"),
    (r"snapshot \S+ does not exist|invalid snapshot", "snapshot_lost", "The dump's snapshot was gone."),
    (
        r"cache lookup failed|could not open relation|does not exist|tuple concurrently",
        "schema_changed",
        "The schema changed while it was read. {words}",
    ),
    (
        r"conflict with recovery|canceling statement|deadlock detected|could not serialize|could not resize"
        r"|could not extend|ERROR:  .*No space left",
        "database_stopped",
        "The database stopped the dump. {words}",
    ),
    (
        r"too many (?:clients|connections)|connection slots|starting up|shutting down|connection to server"
        r"|server closed the connection|terminating connection|could not receive data|SSL connection|no connection to",
        "connection_lost",
        "The connection to the database was lost.",
    ),
)


def dump_error(code: int, stderr: str, schema: str) -> RunError:
    """The error for pg_dump's exit code and messages, all of which are a note for the log.

    pg_dump gives no SQLSTATE, so its messages have to be read. What the server refuses in a way
    that is not known to pass is not tried again; a pg_dump that ended for a reason of its own is.
    """
    error = _told_by_messages(code, stderr, schema)
    if stderr:
        error.add_note(f"pg_dump ended with {code}: {stderr}")
    return error


def _told_by_messages(code: int, stderr: str, schema: str) -> RunError:
    if code < 0:
        return TransientRunError(f"pg_dump was killed ({signal.strsignal(-code) or -code}).", "dump_killed")
    said = "ERROR:  " in stderr
    if not said and (refused := refusal(stderr)):
        return refused
    words = last_words(stderr)
    of_the_dump = PERMANENT[len(REFUSALS) :]
    for signs, kind in ((of_the_dump, RunError), (TRANSIENT, TransientRunError)):
        for pattern, name, sentence in signs:
            if found := re.search(pattern, stderr):
                return kind(sentence.format(*found.groups(), schema=schema, words=words).strip(), name)
    if said:
        return RunError(f"pg_dump was refused. {words}", "dump_refused")
    return TransientRunError(f"pg_dump failed (exit code {code}). {words}".strip(), "dump_failed")


def last_words(stderr: str) -> str:
    """What pg_dump said of its end, as one sentence without values: `pg_dump: Dumping … failed: …`;
    "" for nothing.
    """
    errors = re.findall(r"^pg_dump: error: (.*)", stderr, re.M)
    server = re.findall(r"\bERROR:  (.*)", stderr)
    if not errors:
        return ""
    own = re.split(r":? *(?:PQ\w+\(\) failed|ERROR:  )", errors[-1])[0].rstrip(" .:")
    words = ": ".join(filter(None, [own, without_values(server[-1]) if server else ""]))
    return f"pg_dump: {words}."


def without_values(message: str) -> str:
    """A message of the server without what may come from a row: what it quotes behind a colon or
    the word `value`, what stands in brackets behind `=`, and bytes.
    """
    message = re.sub(r"(:|\bvalue)\s+[\"'({\[].*", r"\1 …", message)
    message = re.sub(r"=\s*\(.*", "= …", message)
    message = re.sub(r"(:\s+)?\b0x[0-9a-fA-F]+(?: 0x[0-9a-fA-F]+)*", "", message)
    return message.rstrip(" .")


def database_error(error: psycopg.Error) -> RunError:
    """The error for one of the server's while the schema is read beside the dump."""
    state = error.sqlstate or ""
    words = without_values(error.diag.message_primary or type(error).__name__)
    match state:
        case "42501" if is_row_security(error):
            return RunError("Row-level security hides rows from the dump role.", ROW_SECURITY)
        case "42501":
            return RunError("The dump role may not read everything in the schema.", "permission_denied")
        case "42P01" | "3F000":
            return TransientRunError("The schema changed while it was read.", "schema_changed")
        case "55P03":
            return TransientRunError("A table of the schema stayed locked.", "lock_timeout")
        case "57014":
            return TransientRunError(f"The database stopped the reading: {words}.", "database_stopped")
    if not state and not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        raise error  # a statement of ours that psycopg did not even send
    if not state or state.startswith(("08", "57")):
        return TransientRunError("The connection to the database was lost.", "connection_lost")
    if state.startswith(("40", "53", "58")):
        return TransientRunError(f"The database stopped the reading: {words}.", "database_stopped")
    return RunError(f"The database refused the reading: {words} (SQLSTATE {state}).", "dump_refused")
