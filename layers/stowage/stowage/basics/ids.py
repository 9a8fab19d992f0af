"""Ids: how ours are made, and how any id travels in a path (docs/api.md, Ids).

An HTTP API decodes the path and may cut it at a decoded `?`. An id that is not plain is therefore
emitted as `~` + base64url(id), one that begins with `~` too. Servers on the way resolve `.` and
`..`, so these are not plain either.
"""

import hashlib
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from uuid import UUID

LONGEST_ID_BYTES = 1000
"""Of a record made through the API, raw."""
_PLAIN = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]+")


def is_plain(raw: str) -> bool:
    """Whether an id survives every path as it is."""
    return _PLAIN.fullmatch(raw) is not None


def encode_id(raw: str) -> str:
    """The form of an id that every JSON answer carries and every path survives."""
    return raw if is_plain(raw) else "~" + _packed(raw)


def is_emitted(given: str) -> bool:
    """Whether this is the form in which answers carry an id, so that no path can have cut it."""
    return encode_id(decode_id(given)) == given


def _packed(raw: str) -> str:
    return urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def decode_id(given: str) -> str:
    """The raw id of either form.

    A text that begins with `~` and is not what `encode_id` would write is a raw id: Python's
    decoder takes nearly anything.
    """
    if not given.startswith("~"):
        return given
    packed = given[1:]
    try:
        raw = urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
    except ValueError:
        return given
    return raw if raw and _packed(raw) == packed else given


def new_run_id(now: datetime) -> str:
    """A UUIDv7 (RFC 9562 §5.7): ids of runs sort by the time of their creation."""
    milliseconds = int(now.timestamp() * 1000)
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))


def run_id_time(run_id: str) -> datetime:
    """When a run was asked for, from its id; ValueError for what is none."""
    if not is_run_id(run_id):
        raise ValueError(f"not the id of a run: {run_id!r}")
    return datetime.fromtimestamp((UUID(run_id).int >> 80) / 1000, UTC)


def first_run_id(moment: datetime) -> str:
    """The smallest text that an id of a run made at this moment can be; every earlier run's id is smaller."""
    milliseconds = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}"


def named_run_id(moment: datetime, name: str) -> str:
    """An id in the form of a run's, for something that happened at a moment; the same whenever it is asked for."""
    made = UUID(bytes=hashlib.sha256(f"{name} {rfc3339(moment)}".encode()).digest()[:16])
    return f"{first_run_id(moment)}-7{made.hex[:3]}-8{made.hex[3:6]}-{made.hex[6:18]}"


def new_operation_id(now: datetime) -> str:
    """`op_` and the hexadecimal of a UUIDv7: ids of operations sort by the time of their creation."""
    return "op_" + new_run_id(now).replace("-", "")


def new_uuids(count: int, now: datetime) -> list[str]:
    """So many UUIDv7: they sort by time, then in the order in which they were made.

    The 12 bits behind the version count (RFC 9562 §6.2, method 1); what is more goes on in the next milliseconds.
    """
    milliseconds, chance = int(now.timestamp() * 1000), os.urandom(8 * count).hex()
    made: list[str] = []
    for n in range(count):
        time, by_chance = f"{milliseconds + (n >> 12):012x}", chance[16 * n : 16 * n + 15]
        made.append(f"{time[:8]}-{time[8:]}-7{n & 0xFFF:03x}-8{by_chance[:3]}-{by_chance[3:]}")
    return made


def new_record_ids(prefix: str, count: int, now: datetime) -> list[str]:
    """So many ids of new records, at most 65,536: they sort by time, then in the order in which they were made.

    32 hexadecimal digits behind the prefix: 12 of milliseconds, 4 that count, 16 by chance.
    """
    milliseconds, chance = int(now.timestamp() * 1000), os.urandom(8 * count).hex()
    return [f"{prefix}{milliseconds:012x}{n:04x}{chance[16 * n : 16 * n + 16]}" for n in range(count)]


def is_run_id(given: str) -> bool:
    """Whether a text can be the id of a run at all."""
    try:
        return str(UUID(given)) == given
    except ValueError:
        return False


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds and `Z`; sorts as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def parse_rfc3339(text: str) -> datetime:
    """The moment that `rfc3339` wrote. ValueError when it is none."""
    return datetime.fromisoformat(text).astimezone(UTC)
