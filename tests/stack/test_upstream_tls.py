"""Upstream mode over TLS, in this process: a deployed stack trusts public authorities alone, who sign nothing here."""

import json
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from exports.get_export_progress import app as get_export_progress
from stowage.entry import upstream
from stowage.settings import settings
from tests.conftest import free_ports
from tests.stack.backend import JSON, Answer, Backend, Raw, Stream, silence
from tests.stack.certificates import make_certificate

EVENT = json.loads((Path(__file__).parents[2] / "events/get_export_progress.json").read_text())
TENANT = EVENT["pathParameters"]["guildId"]
EVENT_STREAM = [("content-type", "text/event-stream")]

type Json = Any


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def backend(certificate: tuple[Path, Path]) -> Iterator[Backend]:
    made = Backend(free_ports(1)[0], certificate)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def ask(
    backend: Backend, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Json]]:
    """Asks for an export's progress where the backend's certificate is an authority's own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    upstream._authorities.cache_clear()

    def asked(url: str = backend.url) -> Json:
        for name, value in {"TABLE": "t", "EXPORTS_BUCKET": "e", "BACKUPS_BUCKET": "b", "BACKEND_API_URL": url}.items():
            monkeypatch.setenv(f"STOWAGE_{name}", value)
        settings.cache_clear()
        return get_export_progress(EVENT, None)

    yield asked
    settings.cache_clear()
    upstream._authorities.cache_clear()


def code(answer: Json) -> tuple[int, str]:
    return answer["statusCode"], json.loads(answer["body"])["code"]


def test_answers_come_over_tls_as_without(backend: Backend, ask: Callable[..., Json]) -> None:
    for sent in (
        Answer(207, b"x" * 3_000_000),
        Stream([b"x" * 1_500_000] * 2, JSON),
        Raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000),
    ):
        backend.answers[TENANT] = sent
        assert ask()["body"] == "x" * 3_000_000
    assert len(backend.received[TENANT]) == 3


def test_a_backend_that_no_authority_vouches_for_is_told_nothing(
    backend: Backend, ask: Callable[..., Json], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert code(ask(backend.url.replace("127.0.0.1", "localhost"))) == (502, "upstream_unreachable")
    other, _ = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    upstream._authorities.cache_clear()
    assert code(ask()) == (502, "upstream_unreachable")
    assert backend.count == 0


def test_a_backend_without_tls_where_the_url_says_https_is_a_502(backend: Backend, ask: Callable[..., Json]) -> None:
    plain = Backend(free_ports(1)[0])
    plain.start()
    assert code(ask(backend.url.replace(str(backend.port), str(plain.port)))) == (502, "upstream_unreachable")
    plain.stop()
    assert plain.count == 0


def test_the_limits_hold_over_tls(backend: Backend, ask: Callable[..., Json], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(upstream, "STREAM_SECONDS", 0.3)
    for late in (silence, Stream(repeat(b" "), JSON, pause=0.05)):
        backend.answers[TENANT] = late
        assert code(ask()) == (504, "upstream_timeout")
    backend.answers[TENANT] = Stream([b"data: 1\n\n", b"data: 2"], EVENT_STREAM, pause=0.01)
    assert ask()["body"] == "data: 1\n\ndata: 2"
    backend.answers[TENANT] = Stream(repeat(b"data: 1\n\nda"), EVENT_STREAM, pause=0.05)
    answer = ask()
    assert answer["statusCode"] == 200
    assert answer["body"].endswith("data: 1\n\n")
