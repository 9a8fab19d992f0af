"""A dump loaded beside the live schema: under its own name, inside one transaction, while the live one is set aside.

Renames lock no table, and until the commit nobody else sees any of it: the live schema serves all the time.
"""

from collections.abc import Callable, Iterator, Mapping

from psycopg import sql

from stowage.basics.errors import RunError, StowageError
from stowage.postgres.dumps.portable import Form, Rewriter
from stowage.postgres.restores.copies import aside_of, beside, copy_of
from stowage.postgres.restores.feed import Feed

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s';\n"
# The dump's own settings last for the session: it waits for locks as long as it takes.
_RENAME = sql.SQL("ALTER SCHEMA {} RENAME TO {};\n")


def load(
    feed: Feed,
    script: Iterator[bytes],
    form: Form,
    run_id: str | None,
    *,
    is_live: bool,
    before_commit: Callable[[], None],
    watch: Callable[[int], None],
    included: Mapping[str, bool] | None = None,
) -> int:
    """Load a plain dump of the schema `form.schema` as `copy_of(run_id)`, without a run's id under its own name; how
    many lines of rows it had.

    `before_commit` is called when everything has been loaded, and raises where the artifact was not whole.
    `watch(rows)` is called again and again. `included` are the schemas that were dumped along, and whether there is
    one of that name; they come `beside` the copy. Whatever is raised, nothing is there.
    """
    rewriter, included = Rewriter(form), included or {}
    is_there = {form.schema: is_live, **included}
    copies = {form.schema: copy_of(run_id), **beside(copy_of(run_id), list(included))} if run_id else {}
    asides = {form.schema: aside_of(run_id), **beside(aside_of(run_id), list(included))} if run_id else {}
    live = [name for name in copies if is_there[name]]
    if live:
        feed.write((_LOCK_TIMEOUT + "".join(_rename(name, asides[name]) for name in live)).encode())
    try:
        for chunk in script:
            for piece in rewriter.feed(chunk):
                feed.write(piece)
            watch(rewriter.rows)
        for piece in rewriter.finish():
            feed.write(piece)
    except StowageError as error:
        if error.code in ("dump_not_whole", "not_plain"):
            raise RunError(f"The backup is damaged. {error.message}", "backup_damaged") from error
        raise
    before_commit()
    if run_id:
        away = "".join(_rename(name, copy) for name, copy in copies.items())
        back = "".join(_rename(asides[name], name) for name in live)
        feed.write(("\n" + _LOCK_TIMEOUT + away + back).encode())
    feed.commit()
    return rewriter.rows


def _rename(name: str, to: str) -> str:
    return _RENAME.format(sql.Identifier(name), sql.Identifier(to)).as_string()
