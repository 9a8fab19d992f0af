"""The types and statuses by which jobs are filtered, one or several, separated by commas."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, WithJsonSchema

from stowage.runs.record import Status

type JobType = Literal[
    "export_backup", "export_logs", "export", "import", "restore", "verify", "compare", "replicate", "offboard"
]
"""The types by which a list can be filtered. There are no runs of some of them yet; those filters find nothing."""


def names_of(given: str | None) -> list[str]:
    """The names of a list that is written with commas."""
    return given.split(",") if given else []


def _some_of(known: tuple[str, ...]) -> tuple[AfterValidator, WithJsonSchema]:
    def check(given: str) -> str:
        unknown = [name for name in given.split(",") if name not in known]
        if unknown:
            raise ValueError(f"expected one or more of {', '.join(known)}, separated by commas")
        return given

    either = "|".join(known)
    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^({either})(,({either}))*$"})


_TYPES, _STATUSES = _some_of(get_args(JobType.__value__)), _some_of(get_args(Status.__value__))
JobTypes = Annotated[str, *_TYPES]
JobStatuses = Annotated[str, *_STATUSES]
