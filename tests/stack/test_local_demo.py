"""The README's first command, and what is there of it on the next day."""

import hashlib
import re
from collections.abc import Callable

from tests.conftest import Api, LocalStack

type MakeStack = Callable[..., LocalStack]


def test_the_demo_ends_well_and_the_next_start_serves_its_files(own_stack: MakeStack) -> None:
    stack = own_stack(STOWAGE_PARAMETER_ImageMaxBytes="67108864")
    assert stack.launch("demo", "--once").wait(120) == 0, stack.terminal()
    shown = stack.terminal()
    assert re.findall(r"^Export of acme's (\w+) as (\w+): ", shown, re.MULTILINE) == [
        ("posts", "csv"),
        ("accounts", "xlsx"),
    ]
    assert shown.count("100.0 %") >= 3
    assert "opened, 100,000 rows" in shown
    assert "as recorded" in shown
    files = {file.name: file.read_bytes() for file in (stack.home / "demo").iterdir()}
    assert len(files) == 3

    running = stack.start("up")
    with Api(running.api_url, running.tokens["admin"]) as api:
        exports = api.get("/api/guilds/acme/exports").json()["exports"]
        assert [(each["dataType"], each["status"]) for each in exports] == [
            ("accounts", "completed"),
            ("posts", "completed"),
        ]
        for each in exports:
            link = each["downloadUrl"].partition(f":{stack.port}")[2]
            assert api.get(link).content == files[each["filename"]]
        [backup] = api.get("/api/backup?project_id=acme").json()["data"]
        assert backup["status"] == "completed"
        assert not (stack.home / "logs" / "worker.log").exists(), "it needed no task"
        dump = api.get(f"/api/backup/{backup['id']}/download").content
        assert hashlib.sha256(dump).hexdigest() == backup["sha256"]
        assert dump in files.values()
        assert sorted(job["type"] for job in api.get("/api/jobs").json()["data"]) == [
            "export",
            "export",
            "export_backup",
        ]
