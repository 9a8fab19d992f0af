"""What a notice says, in plain text and as HTML. It never holds a link to a file."""

from dataclasses import dataclass
from datetime import datetime
from html import escape

from stowage.runs.kinds import kind_of
from stowage.runs.record import Run
from stowage.settings import settings

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Words:
    """A notice: its subject, then lines of a name and a value, then where to look."""

    subject: str
    lines: tuple[tuple[str, str], ...]
    link: str

    @property
    def text(self) -> str:
        """In plain text."""
        told = "\n".join(f"{name}: {value}" for name, value in self.lines)
        return f"{self.subject}\n\n{told}\n\n{self.link}\n"

    @property
    def html(self) -> str:
        """The same as HTML."""
        rows = "".join(
            f"<tr><th align=left>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self.lines
        )
        link = escape(self.link)
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(self.subject)}</title>'
            f'<p><b>{escape(self.subject)}</b></p><table cellpadding="4">{rows}</table>'
            f'<p><a href="{link}">{link}</a></p>'
        )


def words_of(run: Run, event: str, tenant_name: str) -> Words:
    """What to say of a run that is `completed` or `failed`, or whose file is `expiring`."""
    what = kind_of(run.kind).notice
    subjects = {
        "completed": f"{what} of {tenant_name} completed",
        "failed": f"{what} of {tenant_name} FAILED",
        "expiring": f"{what} of {tenant_name} expires on {(run.expires_at or '')[:10]}",
    }
    lines = [
        ("Tenant", f"{tenant_name} ({run.tenant})"),
        ("Asked for by", run.requested_by),
        ("Asked for", run.created_at),
    ]
    if run.duration_ms is not None:
        lines.append(("Took", _duration(run.duration_ms)))
    if event == "failed" and run.error:
        lines.append(("Error", f"{run.error.message} ({run.error.code})"))
    if run.file:
        lines += [("File", run.file.file_name), ("Size", _size(run.file.size_bytes)), ("SHA-256", run.file.sha256)]
    if run.file and kind_of(run.kind).protects:
        lines.append(("Verification", _verification(run)))
    if run.file and run.expires_at:
        lines.append(("Kept until", run.expires_at))
    return Words(subjects[event], tuple(lines), f"{settings().public_url}/console/runs?run={run.id}")


def words_of_test(tenant_name: str, asked_by: str, now: datetime) -> Words:
    """What a test says."""
    lines = (("Asked for by", asked_by), ("At", f"{now:%Y-%m-%d %H:%M:%S} UTC"))
    subject = f"Test: Stowage can tell you of backups of {tenant_name}"
    return Words(subject, lines, f"{settings().public_url}/console")


def _verification(run: Run) -> str:
    if run.verification is None:
        return "level 1: size and checksum are as they were made; it was not read to its end yet"
    verdict = "passed" if run.verification["ok"] else "FAILED"
    return f"level {run.verification['level']} {verdict} at {run.verification['at']}"


def _size(size: float) -> str:
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


def _duration(milliseconds: int) -> str:
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
