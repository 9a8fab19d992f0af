"""One bot: writes to a chat, sends files and fetches them again.

Telegram says itself how long to wait (429 with `retry_after`, Bot API, "Response Parameters"); what it refuses
otherwise will be refused again.
"""

import json
import time
from typing import Any

import urllib3

from stowage.basics.errors import RunError, TransientRunError

TRIES = 4
CONNECT_SECONDS = 5.0
BACKOFF_SECONDS = 0.5
MOST_ANSWER = 64 * 1024
MOST_FETCHED = 20 * 1024 * 1024
"""Bytes that a bot may fetch of one file (Bot API, getFile)."""


class Bot:
    """A bot by its token. `patience` is how many seconds a call may wait where Telegram asks for it, `read_seconds`
    how long one silence may last.

    RunError `telegram_refused` for what it does not take, TransientRunError `telegram_unavailable` where it does not
    answer, or asks for more patience than there is.
    """

    def __init__(self, token: str, api_url: str, patience: float = 5.0, read_seconds: float = 8.0) -> None:
        self._token, self._url, self._patience = token, api_url.rstrip("/"), patience
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds), retries=False
        )

    def send_message(self, chat: str, text: str) -> None:
        """Write to a chat, in plain text."""
        self._call("sendMessage", {"chat_id": chat, "text": text, "disable_web_page_preview": "true"})

    def send_document(self, chat: str, name: str, data: bytes, caption: str = "") -> tuple[str, int]:
        """Send a file; its id, by which this bot can fetch it, and the message's."""
        fields: dict[str, Any] = {"chat_id": chat, "caption": caption}
        fields["document"] = (name, data, "application/octet-stream")
        message = self._call("sendDocument", fields)
        return str(message["document"]["file_id"]), int(message["message_id"])

    def delete_message(self, chat: str, message: int) -> None:
        """Take a message back, as long as Telegram lets a bot: 48 hours."""
        self._call("deleteMessage", {"chat_id": chat, "message_id": str(message)})

    def fetch(self, file_id: str) -> bytes:
        """A file that this bot has sent; at most 20 MB."""
        path = str(self._call("getFile", {"file_id": file_id})["file_path"])
        return self._try("GET", f"{self._url}/file/bot{self._token}/{path}", {}, MOST_FETCHED)

    def _call(self, method: str, fields: dict[str, Any]) -> Any:
        answer = self._try("POST", f"{self._url}/bot{self._token}/{method}", {"fields": fields}, MOST_ANSWER)
        return json.loads(answer)["result"]

    def _try(self, verb: str, url: str, given: dict[str, Any], most: int) -> bytes:
        """The body of a good answer. Errors never hold the URL, because the token stands in it."""
        for attempt in range(1, TRIES + 1):
            wait = BACKOFF_SECONDS * 2 ** (attempt - 1)
            try:
                answer = self._http.request(verb, url, redirect=False, preload_content=False, **given)
                body = answer.read(most + 1)
                answer.release_conn()
            except urllib3.exceptions.HTTPError:
                status, body = 0, b""
            else:
                status = answer.status
            if status == 200:
                if len(body) > most:
                    raise RunError("Telegram sent more than was asked for.", "telegram_refused")
                return body
            if status == 429:
                wait = float(_told(body).get("parameters", {}).get("retry_after", wait))
            elif 400 <= status < 500:
                why = str(_told(body).get("description", status))[:200]
                raise RunError(f"Telegram refused: {why}.", "telegram_refused")
            if attempt == TRIES or wait > self._patience:
                break
            time.sleep(wait)
        raise TransientRunError("Telegram does not answer, or takes no more for now.", "telegram_unavailable")


def _told(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
