"""What a tenant's backup settings say about notices, and whether this deployment can do it."""

from pydantic import BaseModel

from stowage.aws import table
from stowage.basics.errors import BadRequestError
from stowage.delivery.records import WantedNotices
from stowage.settings import settings

SETTINGS_ITEM = "BACKUPS"
"""The sort key of a tenant's backup settings."""


class Wishes(BaseModel):
    """The part of the settings that is read when a run ends."""

    notify: WantedNotices | None = None


def wishes_of(tenant: str) -> Wishes:
    """What a tenant has set; nothing where it has set nothing."""
    item = table.get(f"T#{tenant}", SETTINGS_ITEM) or {}
    return Wishes.model_validate(item.get("settings", {}))


def must_reach(notices: WantedNotices | None, field: str = "notify") -> None:
    """BadRequestError `not_configured` for a channel that this deployment lacks, `address_not_allowed` for an address
    outside `NotifyDomains`.
    """
    if notices is None:
        return
    if notices.email:
        must_send_mail(f"{field}.email")
    for place, address in enumerate(notices.email):
        if settings().notify_domains and not _is_of_the_deployment(address):
            raise _not_allowed(f"{field}.email[{place}]")
    if notices.telegram:
        must_have_bot(f"{field}.telegram")


def must_take(tenant: str, address: str, field: str) -> None:
    """The same for an address that one request names. Without `NotifyDomains` only those of the tenant's settings are
    taken, else nobody would have said to whom this deployment may write.
    """
    must_send_mail(field)
    if _is_of_the_deployment(address):
        return
    notify = wishes_of(tenant).notify
    if notify is None or address not in notify.email:
        raise _not_allowed(field)


def must_have_bot(field: str) -> None:
    """BadRequestError `not_configured` where this deployment has no Telegram bot."""
    if not settings().telegram_token:
        raise _not_configured("This deployment has no Telegram bot (TelegramSecretArn).", field)


def must_send_mail(field: str) -> None:
    """BadRequestError `not_configured` where this deployment has no sender."""
    if not settings().notify_sender:
        raise _not_configured("This deployment sends no e-mail (NotifySender).", field)


def _not_configured(sentence: str, field: str) -> BadRequestError:
    return BadRequestError(sentence, "not_configured", details=[{"field": field, "message": "not configured"}])


def _not_allowed(field: str) -> BadRequestError:
    return BadRequestError(
        "Stowage does not write to this address: neither its domain is allowed nor is it in the tenant's settings.",
        "address_not_allowed",
        details=[{"field": field, "message": "an address of an allowed domain, or of the tenant's own settings"}],
    )


def _is_of_the_deployment(address: str) -> bool:
    domains = {each.strip().lower() for each in settings().notify_domains.split(",") if each.strip()}
    return address.rpartition("@")[2].lower() in domains
