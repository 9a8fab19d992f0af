"""Limits: so many calls in a window, counted in the table. Fixed windows, so a reset is a time that can be told."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime

from stowage.aws import table
from stowage.aws.table import Below, ConditionFailedError, Update
from stowage.errors import RateLimitedError

DAY = 86_400
MINUTE = 60


@dataclass(frozen=True)
class Limit:
    """At most `most` calls by `who` in each window of `seconds`, counted from the epoch (a day is one in UTC)."""

    name: str
    who: str
    most: int
    seconds: int

    def take(self, now: datetime) -> Update:
        """The write that counts one call, refused when there is none left; for a transaction."""
        return Update(
            *self._key(now),
            set={"ttl": self.reset_epoch(now) + DAY},
            add={"used": 1},
            when={"used": Below(self.most)},
        )

    def used(self, now: datetime) -> int:
        """How many calls the current window has seen."""
        item = table.get(*self._key(now))
        return item["used"] if item else 0

    def reset_epoch(self, now: datetime) -> int:
        """When the current window ends, in seconds since the epoch."""
        return (int(now.timestamp()) // self.seconds + 1) * self.seconds

    def resets_at(self, now: datetime) -> datetime:
        """The same as a time."""
        return datetime.fromtimestamp(self.reset_epoch(now), UTC)

    def headers(self, used: int, now: datetime) -> dict[str, str]:
        """The three headers that every limited route sends; the reset in seconds from now."""
        return {
            "RateLimit-Limit": str(self.most),
            "RateLimit-Remaining": str(max(0, self.most - used)),
            "RateLimit-Reset": str(self.reset_epoch(now) - int(now.timestamp())),
        }

    def refusal(self, message: str, now: datetime) -> RateLimitedError:
        """The 429 that says when the window ends."""
        return RateLimitedError(message, retry_after=self.reset_epoch(now) - int(now.timestamp()))

    def _key(self, now: datetime) -> tuple[str, str]:
        return f"LIMIT#{self.name}#{self.who}", str(self.reset_epoch(now))


def count_call(limits: list[Limit], now: datetime, answer_headers: MutableMapping[str, str], message: str) -> None:
    """Count a call against each limit, telling the tightest in the headers; RateLimitedError when one is used up."""
    tightest: tuple[int, Limit, int] | None = None
    for limit in limits:
        take = limit.take(now)
        try:
            used = table.update(take.pk, take.sk, take.set, add=take.add, when=take.when)["used"]
        except ConditionFailedError:
            answer_headers.update(limit.headers(limit.most, now))
            raise limit.refusal(message, now) from None
        if tightest is None or limit.most - used < tightest[0]:
            tightest = (limit.most - used, limit, used)
    if tightest:
        answer_headers.update(tightest[1].headers(tightest[2], now))
