"""Requests that are repeated where that is safe, and answers that are JSON or an error."""

import random
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import MaxRetryError, ResponseError
from urllib3.util.retry import Retry

from stowage_client.errors import CursorGoneError, StowageError

TIMEOUT = (10, 45)
"""Seconds to connect, and between two pieces of an answer; the API holds an answer for 20 at most."""
MOST_WAITING = 60
"""Seconds. A quota that opens again tomorrow is an error now."""
JITTER = 0.5
PLAIN_ID = re.compile(r"[A-Za-z0-9._-]+")


class SafeRetry(Retry):
    """Repeats what may be repeated: all but a DELETE whose outcome is unknown, for its repetition would be
    answered as if there had been nothing to delete. POST and PATCH have an Idempotency-Key.
    """

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Whether an answer is no answer yet. 409 with Retry-After: the same key is still being worked on."""
        if status_code == 409:
            return has_retry_after
        return status_code == 429 or (method != "DELETE" and status_code in (502, 503, 504))

    def increment(self, method: str | None = None, url: str | None = None, *given: Any, **named: Any) -> "SafeRetry":
        """One repetition less; none where the wait that the API asks for is too long."""
        response = named.get("response")
        if response is not None and (self.get_retry_after(response) or 0) > MOST_WAITING:
            raise MaxRetryError(named["_pool"], url or "", ResponseError("The wait is too long."))
        return super().increment(method, url, *given, **named)

    def sleep_for_retry(self, response: BaseHTTPResponse) -> bool:
        """Wait as long as the API asks, and a little more, each client another time."""
        seconds = self.get_retry_after(response)
        if seconds is None:
            return False
        time.sleep(seconds + random.random() * JITTER)  # noqa: S311  no secret
        return True


class Transport:
    """Two sessions: one with the credentials, for the API alone, and one without, for links of storage."""

    def __init__(self, url: str, token: str, tenant: str | None, *, retries: int, user_agent: str) -> None:
        self.url, self.retries = url.rstrip("/"), retries
        self._api, self.storage = requests.Session(), requests.Session()
        for session in (self._api, self.storage):
            retry = SafeRetry(
                retries,
                allowed_methods=frozenset({"GET", "HEAD", "POST", "PUT", "PATCH"}),
                backoff_factor=0.5,
                backoff_jitter=JITTER,
                raise_on_status=False,
                redirect=False,
            )
            for scheme in ("https://", "http://"):
                session.mount(scheme, HTTPAdapter(max_retries=retry))
            session.headers["user-agent"] = user_agent
        # An `auth` of our own keeps requests from reading ~/.netrc, which would replace the credentials.
        self._api.auth = _Bearer(token)
        self.storage.auth = _Nobody()
        self._tenant = {"x-tenant-id": tenant} if tenant else {}

    def close(self) -> None:
        """Close all connections."""
        self._api.close()
        self.storage.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Any:
        """The JSON of an answer, None where it has none; StowageError where the API refuses."""
        response = self._send(method, path, body, query, headers, key)
        if not 200 <= response.status_code < 300:
            raise error_of(response)
        if response.status_code == 204:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise StowageError(f"{self.url} gave no JSON.", status=response.status_code) from error

    def link(self, path: str) -> str:
        """Where a path of the API leads: a link of storage that needs no credentials and works for a while."""
        response = self._send("GET", path, None, None, None, None)
        if response.status_code != 302:
            raise error_of(response)
        return response.headers["location"]

    def _send(
        self,
        method: str,
        path: str,
        body: Any,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        key: str | None,
    ) -> requests.Response:
        sent = {"accept": "application/json"} | self._tenant | dict(headers or {})
        if method in ("POST", "PATCH"):
            sent["idempotency-key"] = key or uuid4().hex
        left = self.retries
        while True:
            try:
                return self._api.request(
                    method,
                    self.url + path,
                    params={name: value for name, value in (query or {}).items() if value is not None},
                    json=body,
                    headers=sent,
                    timeout=TIMEOUT,
                    allow_redirects=False,
                )
            except requests.exceptions.ChunkedEncodingError as error:  # urllib3 does not repeat a cut body
                if not left or method == "DELETE":
                    raise unreachable(error) from error
                left -= 1
                time.sleep(random.random() * JITTER)  # noqa: S311  no secret
            except requests.RequestException as error:
                raise unreachable(error) from error


def error_of(response: requests.Response) -> StowageError:
    """A refusal as an exception, whoever wrote it: the API, its gateway, or somebody before it."""
    try:
        told = response.json()
    except (ValueError, requests.RequestException):
        told = None
    if not isinstance(told, dict):
        told = {}
    kind = CursorGoneError if told.get("code") == "cursor_gone" else StowageError
    return kind(
        str(told.get("error") or told.get("message") or f"The answer was {response.status_code} {response.reason}."),
        status=response.status_code,
        code=told.get("code"),
        details=told.get("details"),
        request_id=told.get("requestId"),
    )


def unreachable(error: Exception) -> StowageError:
    """No whole answer came."""
    return StowageError(f"No answer came: {error}", code="unreachable")


def path_id(id: str) -> str:
    """An id as paths carry it: plain ones and those in the form of answers as they are, others encoded."""
    if id.startswith("~") or (PLAIN_ID.fullmatch(id) and id not in (".", "..")):
        return id
    return "~" + urlsafe_b64encode(id.encode()).decode().rstrip("=")


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["authorization"] = f"Bearer {self._token}"
        return request


class _Nobody(requests.auth.AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request
