"""The kinds of runs: one row each, which holds all that differs between them.

A new kind is a row here, the module that does its work, and a handler that asks for it. Nobody else compares a run's
kind with a name. The work of a kind is named, not imported: each function and each lane loads only what it runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from stowage.access.identity import Role
from stowage.basics.errors import RunError
from stowage.basics.lazy import load

if TYPE_CHECKING:
    from stowage.runs.lane import Work, WorkTogether
    from stowage.runs.plan import Estimator, EstimatorOfAll
    from stowage.runs.record import Run

TRIAL_LEVEL = 3
"""The level of verifications that restore a backup for trial; those below only read it."""
COMPARED_FOR = timedelta(hours=24)
"""How long what a comparison has found can be read, and brought back."""

type Bucket = Literal["exports", "backups"]
type Leaves = Literal["file", "files", "outcome"]
type Result = Callable[["Run", datetime, Callable[[str], str | None]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How long a tenant's artifacts are kept."""

    export_hours: int
    backup_days: int
    run_days: int


@dataclass(frozen=True, kw_only=True)
class RunKind:
    """One kind of run. `work`, `estimator`, `result`, `when_ended` and `when_gone` are names, `module:function`."""

    name: str
    history: str
    """The list in which its runs are shown, and the folder of their objects."""
    leaves: Leaves
    """What a run that ended well leaves: one file, several, or nothing but facts."""
    bucket: Bucket | None
    """Where its files lie; None where it leaves none."""
    keep: Callable[["Run", Policy], timedelta]
    """How long what it leaves is kept, from its end on."""
    fetched_by: Callable[["Run"], Role]
    """The lowest role that may fetch its files, and retry it."""
    fits_inline: Callable[[Mapping[str, Any]], bool] | None
    """Whether a run of this spec may run in a function, if it is small; None: all run in the worker."""
    speaks_sql: Callable[[Mapping[str, Any]], bool]
    """Whether a run of this spec counts against the connections of its database while it runs."""
    exclusive: bool
    """Whether its tenant has only one run at a time of all exclusive kinds."""
    work: str
    """What it does in an attempt: `(attempt) -> None`."""
    estimator: str
    """How large a run will be: `(run) -> Estimate`."""
    result: str
    """The job's `result` after the run has left something: `(run, now, link) -> dict`; `link(file)` gives a link to a
    file.
    """
    work_together: str | None = None
    """What it does in the attempts of several runs that share an execution: `(attempts, end) -> None`, where
    `end(attempt, work)` carries out the one's work; None: none may share.
    """
    estimator_together: str = ""
    """How large these will be: `(runs) -> {id: Estimate}`."""
    actions: tuple[str, ...]
    """What may be done with its runs (`stowage.runs.actions`)."""
    events: tuple[str, ...]
    """The webhook events that follow from its end."""
    protects: bool = False
    """Whether its file protects the tenant: the tenant's summary names the last one."""
    notice: str = ""
    """What a notice of its end calls it; empty where nobody is told."""
    notice_of_success: bool = False
    """Whether those who want to be told of successes are told of its."""
    fits_image: Callable[[Mapping[str, Any]], bool] | None = None
    """Whether a run of this spec, if it is small, may be made at once in a function of the worker's image, for whoever
    asked for it; None: none may.
    """
    asks_first: bool = False
    """Whether a person has to confirm each run, so that no call retries several."""
    ends_itself: bool = False
    """Whether a cancelled run ends by itself, because what it has done stays and its manifest must say what that is."""
    leads_to: str | None = None
    """The due list on which its tenant stands once a run has completed, for the clock to see what follows from it."""
    marks: str | None = None
    """The fact that is also written on the record of the run whose files it used."""
    when_ended: str | None = None
    """Called inside the network after the end of a run was written in the journal: `(connection, run_id) -> None`."""
    when_gone: str | None = None
    """Called inside the network after a run has failed, was cancelled or deleted, or what it left has expired:
    `(tenant, database, run_id, now) -> None`. It may come late, and twice.
    """


def _holds_audit(run: "Run") -> bool:
    return run.spec.get("dataType") in ("audit", "gdpr")


EXPORT = RunKind(
    name="export",
    history="exports",
    leaves="file",
    bucket="exports",
    keep=lambda _, policy: timedelta(hours=policy.export_hours),
    fetched_by=lambda run: "admin" if _holds_audit(run) else "operator",
    fits_inline=lambda spec: spec.get("format") != "parquet",
    speaks_sql=lambda _: True,
    exclusive=False,
    work="stowage.exports.making:make_export",
    estimator="stowage.exports.estimating:estimate_run",
    result="stowage.exports.records:job_result",
    actions=("download", "cancel", "retry", "delete"),
    events=("export.completed", "export.failed"),
)
IMPORT = RunKind(
    name="import",
    history="imports",
    leaves="files",
    bucket="exports",
    keep=lambda _, policy: timedelta(hours=policy.export_hours),
    fetched_by=lambda _: "operator",
    fits_inline=lambda _: True,
    speaks_sql=lambda _: True,
    exclusive=False,
    ends_itself=True,
    work="stowage.imports.files.running:import_file",
    estimator="stowage.imports.files.running:estimate_run",
    result="stowage.imports.files.records:job_result",
    actions=("download", "cancel", "retry"),
    when_ended="stowage.postgres.edits.file_batches:close_import",
    events=("import.completed", "import.failed"),
)
EXPORT_BACKUP = RunKind(
    name="export_backup",
    history="backups",
    leaves="file",
    bucket="backups",
    keep=lambda _, policy: timedelta(days=policy.backup_days),
    fetched_by=lambda _: "admin",
    fits_inline=None,
    speaks_sql=lambda _: True,
    exclusive=True,
    protects=True,
    leads_to="TRIALS",
    fits_image=lambda _: True,
    work="stowage.backups.making:make_backup",
    estimator="stowage.backups.estimating:estimate_run",
    work_together="stowage.backups.batches:make_backups",
    estimator_together="stowage.backups.estimating:estimate_runs",
    result="stowage.backups.records:job_result",
    actions=("download", "cancel", "retry", "verify", "restore", "compare", "pin", "unpin", "delete"),
    notice="Backup",
    notice_of_success=True,
    events=("backup.completed", "backup.failed"),
)
EXPORT_LOGS = RunKind(
    name="export_logs",
    history="backups",
    leaves="file",
    bucket="backups",
    keep=lambda _, policy: timedelta(days=policy.backup_days),
    fetched_by=lambda _: "admin",
    fits_inline=lambda _: True,
    speaks_sql=lambda _: True,
    exclusive=False,
    work="stowage.backups.logs_making:make_logs",
    estimator="stowage.backups.logs_making:estimate_run",
    result="stowage.backups.records:job_result",
    actions=("download", "cancel", "retry", "delete"),
    notice="Backup of the audit log",
    notice_of_success=True,
    events=("backup.completed", "backup.failed"),
)
VERIFY = RunKind(
    name="verify",
    history="verifications",
    leaves="outcome",
    bucket=None,
    keep=lambda _, policy: timedelta(days=policy.run_days),
    fetched_by=lambda _: "admin",
    fits_inline=None,
    speaks_sql=lambda spec: spec.get("level") == TRIAL_LEVEL,
    exclusive=False,
    fits_image=lambda spec: spec.get("level") != TRIAL_LEVEL,
    marks="verification",
    work="stowage.verifications.running:verify_backup",
    estimator="stowage.backups.verification:estimate_run",
    result="stowage.backups.records:verify_result",
    actions=("cancel", "retry"),
    when_gone="stowage.verifications.dropping:drop_trials_of",
    notice="Verification",
    events=("backup.verified",),
)
COMPARE = RunKind(
    name="compare",
    history="compares",
    leaves="outcome",
    bucket=None,
    keep=lambda _, __: COMPARED_FOR,
    fetched_by=lambda _: "admin",
    fits_inline=None,
    speaks_sql=lambda _: True,
    exclusive=False,
    work="stowage.compares.making:compare_backup",
    estimator="stowage.compares.asking:estimate_run",
    result="stowage.compares.requests:job_result",
    actions=("cancel", "retry"),
    when_gone="stowage.compares.dropping:drop_what_is_gone",
    events=(),
)
RESTORE = RunKind(
    name="restore",
    history="restores",
    leaves="outcome",
    bucket=None,
    keep=lambda _, policy: timedelta(days=policy.run_days),
    fetched_by=lambda _: "admin",
    fits_inline=None,
    speaks_sql=lambda _: True,
    exclusive=True,
    asks_first=True,
    ends_itself=True,
    work="stowage.restores.running:restore",
    estimator="stowage.restores.estimating:estimate_run",
    result="stowage.restores.records:job_result",
    actions=("cancel", "retry", "revert"),
    notice="Restore",
    notice_of_success=True,
    events=("restore.completed", "restore.failed"),
)

KINDS: Mapping[str, RunKind] = MappingProxyType(
    {kind.name: kind for kind in (EXPORT, IMPORT, EXPORT_BACKUP, EXPORT_LOGS, VERIFY, COMPARE, RESTORE)}
)
"""Every kind by its name."""


def kind_of(name: str) -> RunKind:
    """The kind of that name. A run of a kind that this version does not know is admitted as a backup is, and fails."""
    return KINDS.get(name) or RunKind(
        name=name,
        history=name,
        leaves="outcome",
        bucket="backups",
        keep=EXPORT_BACKUP.keep,
        fetched_by=EXPORT_BACKUP.fetched_by,
        fits_inline=None,
        speaks_sql=lambda _: True,
        exclusive=True,
        work="",
        estimator="",
        result="",
        actions=("cancel", "retry"),
        events=(),
    )


def work_of(kind: str) -> "Work":
    """What runs of this kind do in an attempt; RunError for a kind that this version does not know."""
    work: Work = _named(kind, kind_of(kind).work)
    return work


def estimator_of(kind: str) -> "Estimator":
    """How runs of this kind are estimated; RunError for a kind that this version does not know."""
    estimator: Estimator = _named(kind, kind_of(kind).estimator)
    return estimator


def work_together_of(kind: str) -> "WorkTogether":
    """What runs of this kind that share an execution do; RunError for a kind whose runs share none."""
    work: WorkTogether = _named(kind, kind_of(kind).work_together or "")
    return work


def estimator_together_of(kind: str) -> "EstimatorOfAll":
    """How they are estimated; RunError for a kind whose runs share none."""
    estimator: EstimatorOfAll = _named(kind, kind_of(kind).estimator_together)
    return estimator


def result_of(kind: str) -> Result:
    """How the result of a run of this kind is shown; RunError for a kind that this version does not know."""
    result: Result = _named(kind, kind_of(kind).result)
    return result


def when_ended_of(kind: str) -> Callable[[Any, str], object] | None:
    """What is done inside the network after the end of such a run, if anything."""
    name = kind_of(kind).when_ended
    return _named(kind, name) if name else None


def when_gone_of(kind: str) -> Callable[[str, str, str, datetime], object] | None:
    """What is done inside the network once nothing is left of such a run, if anything."""
    name = kind_of(kind).when_gone
    return _named(kind, name) if name else None


def _named(kind: str, name: str) -> Any:
    if not name:
        raise RunError(f"Runs of kind {kind!r} cannot be carried out by this version.", "unknown_kind")
    return load(name)
