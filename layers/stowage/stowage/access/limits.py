"""Rate limits: at most a number of calls in a window, counted in the table.

Windows are fixed, so an answer can say when the next one begins.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from stowage.aws import table
from stowage.aws.table import Below, ConditionFailedError, Update
from stowage.basics.errors import RateLimitedError

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
        """When the current window ends, in UTC."""
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


def take_all(limits: Sequence[Limit], message: str, now: datetime) -> None:
    """Count one call against each of these limits, or against none; RateLimitedError where one is used up."""
    try:
        table.transact([limit.take(now) for limit in limits])
    except ConditionFailedError as error:
        raise limits[error.failed[0]].refusal(message, now) from None


def limit_headers(limits: Iterable[Limit], now: datetime) -> dict[str, str]:
    """The three headers for the tightest of these limits; none where there is no limit."""
    used = [(limit, limit.used(now)) for limit in limits]
    if not used:
        return {}
    limit, count = min(used, key=lambda each: each[0].most - each[1])
    return limit.headers(count, now)
