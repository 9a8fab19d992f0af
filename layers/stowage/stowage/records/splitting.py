"""Records of one request into the database: all at once, and where it refuses, without those that it will not have.

Postgres names none of a statement's rows in its errors. What the declaration and the checks say of a record can be
asked (`judge`); any other rule, a trigger or a unique index of the adopter's own, refuses a whole statement. Then the
records are split in four, and those again, until each refusal is that of one: the number of statements grows with the
records refused, not with those that are good.
"""

import time
from collections.abc import Callable, Sequence

from stowage.postgres.session.savepoints import Refused
from stowage.records.failures import IN_THE_WAY, NOT_TRIED, Failure, explain_refusal

SPLITTING_SECONDS = 12
"""How long records are split for: an answer has to come within the gateway's half minute."""

_PARTS = 4

type Numbered[R] = Sequence[tuple[int, R]]
"""Records, each with its index in the request."""

type Found = dict[int, list[Failure]]
"""Why records cannot be saved, by index."""


def write_what_can_be[R](
    records: Numbered[R], write: Callable[[Numbered[R]], Refused | None], judge: Callable[[Numbered[R]], Found | None]
) -> Found:
    """Write records, and say of those that could not be written why.

    `write` takes all that it is given or leaves nothing of them and says why. `judge` gives what is known to be wrong
    with which; None where that cannot be found out while they are together.
    """
    failures: Found = {}
    pending = [(records, True)]
    ends: float | None = None
    while pending:
        part, asks = pending.pop()
        if not part:
            continue
        if ends is not None and time.monotonic() > ends:
            failures |= {index: [NOT_TRIED] for index, _ in part}
            continue
        refused = write(part)
        if refused is None:
            continue
        known = judge(part) if asks else {}
        found = known or {part[n - 1][0]: [IN_THE_WAY] for n in refused.numbers}
        if found:
            failures |= found
            pending.append(([each for each in part if each[0] not in found], asks))
        elif len(part) == 1:
            failures[part[0][0]] = [explain_refusal(refused)]
        else:
            ends = ends or time.monotonic() + SPLITTING_SECONDS
            size = -(-len(part) // _PARTS)
            starts = range(0, len(part), size)
            pending += [(part[start : start + size], known is None) for start in reversed(starts)]
    return failures
