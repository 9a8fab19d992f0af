"""Who is told of the end of a run, each once (docs/operations.md, Notices).

The table's stream brings an end at least once, and so does the queue behind it. A marker for each run, event and
receiver lets one notice through: it is taken before sending, given back where another try may do, and left for good
once the notice is out or was refused.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from stowage.aws import table
from stowage.aws.table import Below, ConditionFailedError
from stowage.basics.errors import BadRequestError, NotFoundError, RunError, TransientRunError
from stowage.basics.ids import rfc3339
from stowage.delivery.standing import note_failing, note_working
from stowage.delivery.wishes import must_reach, must_send_mail, wishes_of
from stowage.notices.channels import Channel, channels_of
from stowage.notices.ended import TOLD
from stowage.notices.expiring import remember_expiry
from stowage.notices.words import Words, words_of
from stowage.runs.kinds import kind_of
from stowage.runs.record import Run
from stowage.runs.store import find_run
from stowage.tenants import find_tenant

_SENDING = timedelta(minutes=3)
"""After so long a sender that has said nothing is taken for dead, and another may send."""
_FOR_GOOD = "~"
_KEPT = timedelta(days=30)


def tell(message: dict[str, Any], now: datetime) -> int:
    """Send the notices that a message of the queue asks for; returns how many went out now.

    TransientRunError where one could not be sent and another try may do; the others went out.
    """
    run = find_run(message["tenant"], message["run"])
    event = message["event"]
    if run is None or (event in TOLD and run.status != event):
        return 0  # deleted, or started anew, meanwhile
    if event == "completed":
        remember_expiry(run)
    sent, failures = 0, []
    words: Words | None = None
    for channel in _receivers(run, event):
        words = words or words_of(run, event, _name_of(run.tenant, now))
        try:
            sent += _send_once(run, event, channel, words, now)
        except TransientRunError as error:
            note_failing(run.tenant, channel.name, error.code, error.message, now)
            failures.append(error)
    if failures:
        raise failures[0]
    return sent


def _receivers(run: Run, event: str) -> Iterable[Channel]:
    """Everyone to be told, once each: whom the request names, and whom the settings do."""
    found = dict[Channel, None]()
    if run.spec.get("notify_email"):
        with suppress(BadRequestError):
            must_send_mail("notify_email")
            found[Channel("email", run.spec["notify_email"])] = None
    notices = wishes_of(run.tenant).notify
    if notices and (event != "completed" or (notices.on_success and kind_of(run.kind).notice_of_success)):
        with suppress(BadRequestError):  # the deployment has given up a channel since
            must_reach(notices)
            found |= dict.fromkeys(channels_of(notices))
    return found


def _send_once(run: Run, event: str, channel: Channel, words: Words, now: datetime) -> int:
    digest = hashlib.sha256(f"{channel.name} {channel.to}".encode()).hexdigest()[:32]
    key = f"RUN#{run.id}", f"TOLD#{event}#{digest}"
    mine = rfc3339(now + _SENDING)
    try:
        table.update(*key, {"until": mine, "ttl": int((now + _KEPT).timestamp())}, when={"until": Below(rfc3339(now))})
    except ConditionFailedError:
        return 0  # it is out, or somebody is just sending it
    try:
        channel.send(words)
    except TransientRunError:
        table.delete(*key, when={"until": mine})
        raise
    except RunError as error:
        table.update(*key, {"until": _FOR_GOOD, "error": error.code})
        note_failing(run.tenant, channel.name, error.code, error.message, now)
        return 0
    table.update(*key, {"until": _FOR_GOOD})
    note_working(run.tenant, channel.name)
    return 1


def _name_of(tenant: str, now: datetime) -> str:
    try:
        return find_tenant(tenant, now).name
    except NotFoundError:
        return tenant
