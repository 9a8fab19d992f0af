"""Which rule of a table refuses a change, in words: its constraints, its triggers, its types.

An error's fields name the constraint, the table and the column (PostgreSQL documentation, "PQresultErrorField"). Its
message may hold values of other records, and nobody is told it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import errors

type Code = Literal["conflict", "invalid_reference", "invalid"]

# "PL/pgSQL function tenant_acme.refuse() line 3 at RAISE", whatever the language of the server's messages.
_FUNCTION = re.compile(r'PL/pgSQL[^(\n]*?([\w$]+)"?\(')

# What no function decides, ours that counts the journal's numbers neither: connections, transactions, resources, locks,
# the operator, the system (PostgreSQL documentation, "PostgreSQL Error Codes").
_NO_RULES = ("08", "25", "40", "53", "55", "57", "58", "XX")


@dataclass(frozen=True)
class Violation:
    """Why the database refuses a record: a code for programs, a sentence for a person."""

    code: Code
    sentence: str


def violation_of(error: psycopg.Error) -> Violation | None:
    """What an error says of the records that were given; None where it is about something else."""
    diag = error.diag
    table, constraint = diag.table_name or "the table", diag.constraint_name
    function = _FUNCTION.search(diag.context or "")
    if function and constraint is None and not (error.sqlstate or "").startswith(_NO_RULES):
        code: Code = "conflict" if isinstance(error, errors.UniqueViolation | errors.ExclusionViolation) else "invalid"
        return Violation(code, f'A rule of the database, the function "{function[1]}", does not allow this.')
    match error:
        case errors.UniqueViolation() | errors.ExclusionViolation():
            return taken([constraint] if constraint else [], table)
        case errors.ForeignKeyViolation() | errors.RestrictViolation():
            told = f"{_named('foreign key', constraint)} of {table} does not allow this: {_DANGLING}."
            return Violation("invalid_reference", told)
        case errors.CheckViolation():
            of = table if diag.table_name or not diag.datatype_name else f"the type {diag.datatype_name}"
            return Violation("invalid", f"{_named('check', constraint)} of {of} does not allow this.")
        case errors.NotNullViolation():
            column = f"The column {diag.column_name}" if diag.column_name else "A column"
            return Violation("invalid", f"{column} of {table} must not be empty.")
        case errors.ProgramLimitExceeded():
            # The function that says so is of PostgreSQL's source, `jsonb_util.c`: the journal holds records as jsonb.
            is_json = (diag.source_file or "").startswith("jsonb")
            of = "the journal: a text may have 256 MB" if is_json else "an index of the database"
            return Violation("invalid", f"A value is too long for {of}.")
        case errors.CharacterNotInRepertoire():
            return None  # of a database in SQL_ASCII, whose record holds other bytes than UTF-8
        case errors.UntranslatableCharacter():
            return Violation("invalid", "The tenant's database has no such character in its encoding.")
        case _ if is_misfit(error):
            return Violation("invalid", "A value does not fit its column in the database.")
    # A SQLSTATE that is none of Postgres's own comes from a trigger.
    if isinstance(error, errors.RaiseException | psycopg.IntegrityError) or type(error) is psycopg.DatabaseError:
        return Violation("invalid", f"{_named('rule', constraint)} of {table} does not allow this.")
    return None


def is_misfit(error: psycopg.Error) -> bool:
    """Whether a type cannot read a value.

    Types that read a language (jsonpath, tsquery, ltree) call that a syntax error, xml on a server without it a feature
    that it lacks, and types of extensions may say no SQLSTATE (hstore before Postgres 16). A mistake in a statement of
    ours has a position in it.
    """
    match error:
        case errors.SyntaxError():
            return error.diag.statement_position is None
        case errors.FeatureNotSupported():
            return (error.diag.source_file or "").endswith("xml.c")
        case errors.InternalError_():
            return (error.diag.source_file or "").endswith("_io.c")
    return isinstance(error, psycopg.DataError)


_IN_THE_WAY = "another record is in the way"
_DANGLING = "a record would refer to one that is not there"


def taken(rules: Sequence[str], table: str) -> Violation:
    """What one of these unique rules says; none: of a rule that nobody names."""
    if len(rules) > 1:
        named = " or ".join(f'"{rule}"' for rule in rules)
        return Violation("conflict", f"A unique rule of {table}, {named}, does not allow this: {_IN_THE_WAY}.")
    (name,) = rules or (None,)
    return Violation("conflict", f"{_named('unique rule', name)} of {table} does not allow this: {_IN_THE_WAY}.")


def _named(kind: str, name: str | None) -> str:
    return f'The {kind} "{name}"' if name else f"A {kind}"
