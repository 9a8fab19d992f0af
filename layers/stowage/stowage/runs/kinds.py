"""Which code carries out which kind of run. Imported when needed: a lane pays for its own kind only."""

from stowage.basics.errors import RunError
from stowage.runs.lane import Work
from stowage.runs.plan import Estimator


def work_of(kind: str) -> Work:
    """What runs of this kind do in an attempt; RunError for a kind that this version does not know."""
    match kind:
        case "export":
            from stowage.exports.making import make_export

            return make_export
        case "export_backup":
            from stowage.backups.making import make_backup

            return make_backup
        case "import":
            from stowage.imports.files.running import import_file

            return import_file
    raise _unknown(kind)


def estimator_of(kind: str) -> Estimator:
    """How runs of this kind are estimated; RunError for a kind that this version does not know."""
    match kind:
        case "export":
            from stowage.exports.estimating import estimate_run

            return estimate_run
        case "export_backup":
            from stowage.backups.estimating import estimate_run as estimate_backup_run

            return estimate_backup_run
        case "import":
            from stowage.imports.files.running import estimate_run as estimate_import_run

            return estimate_import_run
    raise _unknown(kind)


def _unknown(kind: str) -> RunError:
    return RunError(f"Runs of kind {kind!r} cannot be carried out by this version.", "unknown_kind")
