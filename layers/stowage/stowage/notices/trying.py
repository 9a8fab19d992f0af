"""A test of the channels that settings name: what became of a message to each."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, model_validator

from stowage.access.identity import Identity, for_role
from stowage.basics.errors import RunError
from stowage.delivery.records import WantedNotices
from stowage.delivery.wishes import must_reach
from stowage.notices.channels import channels_of
from stowage.notices.words import words_of_test
from stowage.tenants import Tenant


class NoticesTest(BaseModel):
    """The body of `POST /api/backup/settings/test`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    notify: WantedNotices

    @model_validator(mode="after")
    def _somebody(self) -> "NoticesTest":
        if not self.notify.email and not self.notify.telegram:
            raise ValueError("name an address or a chat in notify")
        return self


class TriedChannel(BaseModel):
    """What became of the test of one receiver: `code` and `message` where it failed."""

    channel: str
    to: str
    ok: bool
    code: str | None
    message: str | None


class TriedNotices(BaseModel):
    """What became of a test."""

    results: list[TriedChannel]


@for_role("admin")
def try_channels(tenant: Tenant, identity: Identity, request: NoticesTest, now: datetime) -> TriedNotices:
    """Send a message to everyone that these notices name; BadRequestError as for the settings themselves."""
    must_reach(request.notify)
    words = words_of_test(tenant.name, identity.sub, now)
    results = []
    for channel in channels_of(request.notify):
        failure: RunError | None = None
        try:
            channel.send(words)
        except RunError as error:
            failure = error
        results.append(
            TriedChannel(
                channel=channel.name,
                to=channel.to,
                ok=failure is None,
                code=failure.code if failure else None,
                message=failure.message if failure else None,
            )
        )
    return TriedNotices(results=results)
