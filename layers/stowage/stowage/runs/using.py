"""A run that uses another run's files: meanwhile the other neither expires nor is deleted."""

from stowage.aws import table
from stowage.aws.table import ABSENT, PRESENT, Below, Update, Write
from stowage.runs.kinds import kind_of
from stowage.runs.record import Run
from stowage.runs.summary import summing_up

IN_NO_USE = Below(1)
"""What a write expects of `users` where nobody may be using the run's files."""


def take_into_use(run: Run) -> list[Write]:
    """The write that makes a run a user of a backup; it is refused if the backup has no file any more."""
    if run.uses is None:
        return []
    there = {"status": "completed", "expired_at": ABSENT}
    return [Update(run.pk, f"RUN#{run.uses}", add={"users": 1}, when=there)]


def let_go(run: Run) -> list[Write]:
    """The writes that end the use when the run ends. If its kind has a fact for the used run, they write it there."""
    item = table.get(run.pk, f"RUN#{run.uses}") if run.uses else None
    if item is None:
        return []
    marks = kind_of(run.kind).marks
    if not marks or not run.outcome:
        return [Update(run.pk, f"RUN#{run.uses}", add={"users": -1}, when={"pk": PRESENT})]
    used, marked = Run.model_validate(item), {marks: run.outcome.facts[marks]}
    # Of two that mark at once, the second looks again: the summary goes by the mark that it replaces.
    unchanged = {"pk": PRESENT, marks: item.get(marks) or ABSENT}
    return [
        Update(used.pk, used.sk, marked, add={"users": -1}, when=unchanged),
        *summing_up(used, used.model_copy(update=marked)),
    ]
