"""Notices: who is told of what, once each, whatever is delivered twice or fails; and the warning before an expiry."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto.ses.models import ses_backends
from pydantic import ValidationError

from stowage.access.identity import Identity
from stowage.attention.reading import AttentionEntry, read_attention
from stowage.aws import clients, table
from stowage.basics.errors import BadRequestError, ForbiddenError, TransientRunError
from stowage.basics.ids import new_run_id, rfc3339
from stowage.clock import DUTIES, tick
from stowage.delivery.records import WantedNotices
from stowage.delivery.wishes import SETTINGS_ITEM, must_reach, must_take
from stowage.notices.channels import deployments_bot
from stowage.notices.ended import follow_endings
from stowage.notices.telling import tell
from stowage.notices.trying import NoticesTest, try_channels
from stowage.runs.record import Failure, Outcome, Run, StoredFile, new_item
from stowage.tenants import COPY, Tenant
from tests.bot_api import TOKEN, BotApi, bot_api
from tests.cloud import Cloud, cloud

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
CHAT = "-1001234567890"
ACME = Tenant("acme", "acme", "Acme & Söhne")
ADMIN, BOB = (Identity(role, role, frozenset({"acme"}), NOW + timedelta(days=99)) for role in ("admin", "operator"))
ON_THE_CLOCK = [duty for duty in DUTIES if duty.name == "EXPIRING"]


@pytest.fixture
def telegram() -> Iterator[BotApi]:
    with bot_api() as made:
        yield made


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, telegram: BotApi) -> Iterator[Cloud]:
    given = {
        "NOTIFY_SENDER": "stowage@example.com",
        "NOTIFY_DOMAINS": "example.com, example.org",
        "TELEGRAM_TOKEN": "bot",
        "TELEGRAM_API_URL": telegram.url,
        "PUBLIC_URL": "https://data.example.com",
    }
    with cloud(monkeypatch, **given) as made:
        clients.secretsmanager().create_secret(Name="bot", SecretString=TOKEN)
        clients.sesv2().create_email_identity(EmailIdentity="stowage@example.com")
        table.put({"pk": COPY, "sk": "acme", "slug": "acme", "name": ACME.name, "database": "main"})
        yield made
        deployments_bot.cache_clear()


def wants(**notify: Any) -> None:
    settings = {"schedule": None, "format": "sql", "notify": WantedNotices(**notify).model_dump()}
    table.put({"pk": "T#acme", "sk": SETTINGS_ITEM, "tenant": "acme", "settings": settings})


def ended(kind: str = "export_backup", status: str = "completed", **changes: Any) -> Run:
    """A run that has ended, in the table."""
    file = StoredFile(key="k", file_name="acme.sql.gz", content_type="c", size_bytes=12_345_678, sha256="5ha")
    run = Run(
        id=new_run_id(NOW), tenant="acme", kind=kind, database="main", spec=changes.pop("spec", {}),
        requested_by="ada@example.com", created_at=rfc3339(NOW), started_at=rfc3339(NOW),
        completed_at=rfc3339(NOW + timedelta(seconds=75)), status=status,  # type: ignore[arg-type]
        outcome=Outcome(files={"file": file}) if status == "completed" else None,
        error=Failure(code="lock_timeout", message="A table stayed locked.") if status == "failed" else None,
        expires_at=rfc3339(NOW + timedelta(days=30)) if status == "completed" else None,
        **changes,
    )  # fmt: skip
    table.put(new_item(run, 0))
    return run


def follow(run: Run, was: str = "running") -> list[dict[str, Any]]:
    """What the stream's reader hands over when a run has ended."""
    follow_endings([({"status": was}, run.model_dump())], NOW)
    return messages()


def messages() -> list[dict[str, Any]]:
    return [json.loads(body) for body in Cloud().messages("ended")]


def mails() -> list[Any]:
    return list(ses_backends["123456789012"]["us-east-1"].sent_messages)


def receivers() -> list[str]:
    return sorted(address for mail in mails() for address in mail.destinations["ToAddresses"])


def test_a_failure_is_told_to_everyone_once_however_often_it_is_delivered(here: Cloud, telegram: BotApi) -> None:
    wants(email=["a@example.com", "b@example.org"], telegram=CHAT)
    run = ended(status="failed", spec={"notify_email": "a@example.com"})
    (message,) = follow(run)
    assert tell(message, NOW) == 3
    assert tell(message, NOW + timedelta(days=1)) == 0
    assert receivers() == ["a@example.com", "b@example.org"]
    (text,) = [message["text"] for message in telegram.messages]
    assert text.startswith("Backup of Acme & Söhne FAILED")
    assert "A table stayed locked. (lock_timeout)" in text
    assert f"https://data.example.com/console/runs?run={run.id}" in text


def test_a_mail_says_what_how_large_how_long_how_verified_and_where_to_look_but_holds_no_file(here: Cloud) -> None:
    wants(email=["a@example.com"], on_success=True)
    verified = {"level": 2, "at": rfc3339(NOW), "ok": True}
    tell({"tenant": "acme", "run": ended(verification=verified).id, "event": "completed"}, NOW)
    (mail,) = mails()
    assert mail.subject == "Backup of Acme & Söhne completed"
    for told in ("Acme &amp; Söhne (acme)", "12.3 MB", "1 min 15 s", "level 2 passed", "/console/runs?run=", "5ha"):
        assert told in mail.body, told
    assert "/download" not in mail.body
    assert "X-Amz" not in mail.body


@pytest.mark.parametrize(
    ("kind", "status", "on_success", "told"),
    [
        ("export_backup", "completed", True, True),
        ("export_backup", "completed", False, False),
        ("export_backup", "failed", False, True),
        ("export_backup", "cancelled", True, False),
        ("restore", "completed", True, True),
        ("restore", "failed", False, True),
        ("verify", "completed", True, False),
        ("verify", "failed", False, True),
        ("export_logs", "completed", True, True),
        ("export", "failed", True, False),
        ("import", "completed", True, False),
        ("compare", "failed", True, False),
    ],
)
def test_failures_are_always_told_and_successes_as_set(
    kind: str, status: str, on_success: bool, told: bool, here: Cloud
) -> None:
    wants(email=["a@example.com"], on_success=on_success)
    for message in follow(ended(kind, status)):
        tell(message, NOW)
    assert receivers() == (["a@example.com"] if told else [])


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_who_asked_for_one_backup_is_told_of_its_end_without_any_settings(status: str, here: Cloud) -> None:
    (message,) = follow(ended(status=status, spec={"notify_email": "me@example.com"}))
    assert (tell(message, NOW), receivers()) == (1, ["me@example.com"])


def test_another_attempt_is_no_end_and_a_run_that_was_started_anew_is_not_told_as_failed(here: Cloud) -> None:
    wants(email=["a@example.com"])
    run = ended(status="failed")
    assert follow(run.model_copy(update={"status": "pending"})) == []
    (message,) = follow(run)
    table.update(run.pk, run.sk, {"status": "pending"})
    assert (tell(message, NOW), receivers()) == (0, [])


def failing(tenant: str = "acme") -> list[AttentionEntry]:
    """What an admin of that tenant is told of channels."""
    return read_attention(Identity("ada", "admin", frozenset({tenant}), NOW), [], NOW).data


def test_a_receiver_that_fails_for_now_is_tried_again_alone(here: Cloud, telegram: BotApi) -> None:
    wants(email=["a@example.com"], telegram=CHAT)
    telegram.next = [(429, {"parameters": {"retry_after": 300}})]
    (message,) = follow(ended(status="failed"))
    with pytest.raises(TransientRunError) as failed:
        tell(message, NOW)
    assert failed.value.code == "telegram_unavailable"
    (entry,) = failing()
    assert (entry.kind, entry.tenant, entry.facts["name"]) == ("destination", "acme", "telegram")
    assert TOKEN not in entry.model_dump_json()
    assert failing("globex") == []
    assert (tell(message, NOW), len(mails()), len(telegram.messages)) == (1, 1, 1)
    assert failing() == []


def test_what_is_refused_for_good_is_not_tried_again_and_shows(here: Cloud, telegram: BotApi) -> None:
    wants(telegram=CHAT)
    telegram.unknown_chats.add(CHAT)
    (message,) = follow(ended(status="failed"))
    assert [tell(message, NOW), tell(message, NOW)] == [0, 0]
    assert telegram.calls == ["sendMessage"]
    (entry,) = failing()
    assert entry.facts["sentence"] == "Telegram refused: Bad Request: chat not found."


def test_a_sender_that_died_while_sending_is_followed_by_another(here: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    wants(email=["a@example.com"])
    (message,) = follow(ended(status="failed"))
    with monkeypatch.context() as patch:
        patch.setattr("stowage.notices.channels.send_mail", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tell(message, NOW)
    assert tell(message, NOW + timedelta(minutes=1)) == 0, "it may still be at work"
    assert tell(message, NOW + timedelta(minutes=4)) == 1
    assert receivers() == ["a@example.com"]


@pytest.mark.parametrize(
    ("answers", "ok"),
    [
        ([(500, {}), (502, {})], True),
        ([(429, {"parameters": {"retry_after": 0}})], True),
        ([(500, {})] * 4, False),
        ([(403, {})], False),
    ],
)
def test_the_bot_waits_as_it_is_told_and_gives_up_after_a_few_tries(
    answers: list[Any], ok: bool, here: Cloud, telegram: BotApi
) -> None:
    telegram.next = answers
    (tried,) = try_channels(ACME, ADMIN, NoticesTest(notify=WantedNotices(telegram=CHAT)), NOW).results
    assert (tried.channel, tried.to, tried.ok) == ("telegram", CHAT, ok)
    assert (tried.code is None) == ok
    assert TOKEN not in str(tried.message)


def test_a_test_sends_a_message_to_each_and_says_what_became_of_it(here: Cloud, telegram: BotApi) -> None:
    telegram.unknown_chats.add("@nobody")
    wanted = NoticesTest(notify=WantedNotices(email=["a@example.com"], telegram="@nobody"))
    results = try_channels(ACME, ADMIN, wanted, NOW).results
    assert [(each.channel, each.ok, each.code) for each in results] == [
        ("email", True, None),
        ("telegram", False, "telegram_refused"),
    ]
    assert receivers() == ["a@example.com"]
    with pytest.raises(ForbiddenError):
        try_channels(ACME, BOB, wanted, NOW)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"email": ["a@elsewhere.com"]}, "notify.email[0]"),
        ({"email": ["a@example.com", "a@example.com.evil.net"]}, "notify.email[1]"),
    ],
)
def test_an_address_outside_the_allowed_domains_is_refused(given: Any, field: str, here: Cloud) -> None:
    with pytest.raises(BadRequestError) as refused:
        must_reach(WantedNotices(**given))
    assert (refused.value.code, refused.value.details and refused.value.details[0]["field"]) == (
        "address_not_allowed",
        field,
    )


def test_a_requests_address_is_of_an_allowed_domain_or_of_the_tenants_own_settings(here: Cloud) -> None:
    wants(email=["vip@partner.net"])
    must_take("acme", "any@example.org", "notify_email")
    must_take("acme", "vip@partner.net", "notify_email")
    for tenant, address in (("acme", "other@partner.net"), ("globex", "vip@partner.net")):
        with pytest.raises(BadRequestError) as refused:
            must_take(tenant, address, "notify_email")
        assert refused.value.code == "address_not_allowed"


def test_what_the_deployment_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with cloud(monkeypatch):
        for notices in (WantedNotices(email=["a@example.com"]), WantedNotices(telegram=CHAT)):
            with pytest.raises(BadRequestError) as refused:
                must_reach(notices)
            assert refused.value.code == "not_configured"


@pytest.mark.parametrize(
    "given",
    [
        {"email": ["no address"]}, {"email": ["a@b.c\nBcc: x@y.z"]}, {"email": ["a@example.com"] * 11},
        {"telegram": "12x"}, {"telegram": ""}, {"telegram": 5}, {"slack": "x"}, {"on_success": "yes"},
    ],
)  # fmt: skip
def test_settings_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        WantedNotices(**given)


def test_a_backup_that_somebody_asked_for_is_told_of_once_7_days_before_it_goes(here: Cloud) -> None:
    wants(email=["a@example.com"])
    run, planned, short = ended(), ended(trigger="schedule"), ended()
    table.update(short.pk, short.sk, {"expires_at": rfc3339(NOW + timedelta(days=3))})
    for each in (run, planned, short):
        tell({"tenant": "acme", "run": each.id, "event": "completed"}, NOW)
    table.update(run.pk, run.sk, {"expires_at": rfc3339(NOW + timedelta(days=40))})  # kept longer since
    for day in range(60):
        tick(NOW + timedelta(days=day), ON_THE_CLOCK)
        tick(NOW + timedelta(days=day), ON_THE_CLOCK)
        for message in messages():
            assert (day, message["run"], message["event"]) == (33, run.id, "expiring")
            assert tell(message, NOW) == 1
            assert tell(message, NOW) == 0
    (mail,) = mails()
    assert mail.subject == "Backup of Acme & Söhne expires on 2026-12-30"
