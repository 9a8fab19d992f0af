"""The ways a notice goes: by mail to an address, by the deployment's bot to a chat."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from stowage.aws.mail import send_mail
from stowage.aws.secrets import read_secret
from stowage.delivery.records import WantedNotices
from stowage.notices.words import Words
from stowage.settings import settings
from stowage.telegram.bot import Bot


@dataclass(frozen=True)
class Channel:
    """One receiver: `email` or `telegram`, and the address or the chat."""

    name: str
    to: str

    def send(self, words: Words) -> None:
        """Send it; RunError where it is refused, TransientRunError where another try may do."""
        if self.name == "email":
            send_mail(self.to, words.subject, words.text, words.html)
        else:
            deployments_bot().send_message(self.to, words.text)


def channels_of(notices: WantedNotices) -> Iterator[Channel]:
    """Everyone that settings name."""
    yield from (Channel("email", address) for address in notices.email)
    if notices.telegram:
        yield Channel("telegram", notices.telegram)


@cache
def deployments_bot() -> Bot:
    """The bot of this deployment; its token is read once."""
    return Bot(read_secret(settings().telegram_token), settings().telegram_api_url)
