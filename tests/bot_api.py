"""A server that speaks Telegram's Bot API (https://core.telegram.org/bots/api) as far as it is used, and fails on
request.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
MOST_FETCHED = 20 * 1024 * 1024
MOST_SENT = 50 * 1024 * 1024


@dataclass
class BotApi:
    """What has been sent, by chat; `next` are statuses with which the next calls are answered instead."""

    url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    deleted: list[int] = field(default_factory=list)
    next: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    slow: float = 0.0
    unknown_chats: set[str] = field(default_factory=set)

    @property
    def kept(self) -> list[dict[str, Any]]:
        """The messages that were not taken back."""
        return [message for message in self.messages if message["message_id"] not in self.deleted]

    def answer(self, method: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """What the API answers to a call."""
        self.calls.append(method)
        time.sleep(self.slow)
        if self.next:
            status, told = self.next.pop(0)
            return status, {"ok": False, "error_code": status, "description": "as asked for", **told}
        if given.get("chat_id") in self.unknown_chats:
            return 400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
        number = len(self.messages) + 1
        match method:
            case "sendMessage":
                self.messages.append({"message_id": number, "chat": given["chat_id"], "text": given["text"]})
            case "sendDocument":
                name, data = given["document"]
                if len(data) > MOST_SENT:
                    return 413, {"ok": False, "error_code": 413, "description": "Request Entity Too Large"}
                file_id = f"BQACAgIAAxk{number:04}"
                self.files[file_id] = data
                document = {"file_id": file_id, "file_name": name, "file_size": len(data)}
                message = {"message_id": number, "chat": given["chat_id"], "document": document}
                self.messages.append({**message, "caption": given.get("caption", "")})
            case "deleteMessage":
                self.deleted.append(int(given["message_id"]))
                return 200, {"ok": True, "result": True}
            case "getFile":
                data = self.files.get(given["file_id"])
                if data is None or len(data) > MOST_FETCHED:
                    why = "Bad Request: invalid file_id" if data is None else "Bad Request: file is too big"
                    return 400, {"ok": False, "error_code": 400, "description": why}
                return 200, {"ok": True, "result": {"file_id": given["file_id"], "file_path": given["file_id"]}}
            case _:
                return 404, {"ok": False, "error_code": 404, "description": "Not Found"}
        return 200, {"ok": True, "result": self.messages[-1]}


@contextmanager
def bot_api() -> Iterator[BotApi]:
    """The server, at a port of its own."""
    api = BotApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if not self.path.startswith(f"/bot{TOKEN}/"):
                return self._reply(401, b'{"ok": false, "error_code": 401, "description": "Unauthorized"}')
            status, told = api.answer(self.path.rpartition("/")[2], _form(self.headers["content-type"], body))
            return self._reply(status, json.dumps(told).encode())

        def do_GET(self) -> None:
            found = api.files.get(self.path.removeprefix(f"/file/bot{TOKEN}/"))
            self._reply(404 if found is None else 200, found or b"")

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _form(content_type: str, body: bytes) -> dict[str, Any]:
    """The fields of a multipart form; a file as (name, bytes)."""
    mail = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=policy.HTTP)
    found: dict[str, Any] = {}
    for part in mail.iter_parts():
        assert isinstance(part, EmailMessage)
        name, data = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        assert isinstance(data, bytes)
        found[str(name)] = (part.get_filename(), data) if part.get_filename() else data.decode()
    return found
