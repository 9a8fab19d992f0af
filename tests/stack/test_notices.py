"""A notice on the whole stack: from the end of a run by stream and queue to SES, where it can be read."""

from email import message_from_bytes, policy
from typing import Any

from tests.conftest import Api, RunningStack
from tests.faults.run_surface import eventually
from tests.stack.route_surface import ended_job

TENANT = "acme_x"


def test_who_wants_to_know_gets_one_mail_when_the_backup_is_there(stack: RunningStack, admin: Api) -> None:
    settings = f"/api/backup/settings?project_id={TENANT}"
    wanted = {"notify": {"email": ["ops@example.com"], "on_success": True}}
    assert admin.put(settings, json=wanted).status_code == 200
    asked = admin.post("/api/backup/export", json={"project_id": TENANT, "notify_email": "ops@example.com"})
    assert asked.status_code == 202, asked.text
    job = asked.json()["data"]["job_id"]
    assert ended_job(admin, job, 120)["status"] == "completed"
    (mail,) = eventually(lambda: mails_about(stack, job), "a mail came")
    assert (mail["to"], mail["from"]) == ("ops@example.com", "stowage@example.com")
    for part in ("plain", "html"):
        text = mail.get_body((part,)).get_content()
        assert f"{stack.api_url}/console/runs?run={job}" in text
        assert "/download" not in text
    tried = admin.post("/api/backup/settings/test" + settings[settings.index("?") :], json={"notify": wanted["notify"]})
    assert (tried.status_code, tried.json()["data"]["results"][0]["ok"]) == (200, True)
    assert admin.put(settings, json={}).status_code == 200
    assert len(mails_about(stack, job)) == 1


def mails_about(stack: RunningStack, job: str) -> list[Any]:
    files = (stack.home / "mail").glob("*.eml")
    mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    return [mail for mail in mails if job in mail.get_body(("plain",)).get_content()]
