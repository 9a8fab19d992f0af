"""A handler run in this process with its sample event, where what is tried needs neither table nor database."""

import importlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest

from stowage.aws import keys
from stowage.settings import settings
from tests.structure.repository import EVENTS, FUNCTIONS, handler_files

type Json = Any
SECRET = "a secret of this test's own, long enough for HS256"
SAFE = ("GET", "HEAD")


@contextmanager
def deployed(monkeypatch: pytest.MonkeyPatch, **parameters: str) -> Iterator[None]:
    """This process as a warm function of a deployment: it has the key of tokens already."""
    with monkeypatch.context() as patch:
        for name, value in {"TABLE": "none", "EXPORTS_BUCKET": "none", "BACKUPS_BUCKET": "none", **parameters}.items():
            patch.setenv(f"STOWAGE_{name}", value)
        settings.cache_clear()
        keys._known["jwt"] = (time.monotonic(), {"secret": SECRET})
        try:
            yield
        finally:
            keys._known.clear()
            settings.cache_clear()


def token(**claims: Json) -> str:
    """A token of an admin of every tenant for ten minutes, but for what is given."""
    usual = {"sub": "ada", "role": "admin", "tenants": ["*"], "exp": int(time.time()) + 600}
    return jwt.encode(usual | claims, SECRET, algorithm="HS256")


def sample(name: str) -> Json:
    """A handler's sample event, signed in."""
    event = json.loads((EVENTS / f"{name}.json").read_text())
    event["headers"]["authorization"] = f"Bearer {token()}"
    return event


def handler(name: str) -> Any:
    """The Lambda handler of that name."""
    (path,) = (path for path in handler_files() if path.stem == name)
    return importlib.import_module(".".join(path.relative_to(FUNCTIONS).with_suffix("").parts)).app


def answer(name: str, event: Json) -> tuple[int, Json]:
    """Status and body of what a handler answers to an event."""
    given = handler(name)(event, None)
    return given["statusCode"], json.loads(given["body"])


def changing() -> list[str]:
    """The handlers of which a request changes something that its path names."""
    named = []
    for path in sorted(EVENTS.glob("*.json")):
        event = json.loads(path.read_text())
        ids = set(event.get("pathParameters", {})) - {"guildId", "entity"}
        if ids and event["requestContext"]["http"]["method"] not in SAFE:
            named.append(path.stem)
    return named
