"""GET /api/v1/health: whether the service answers."""

from typing import Literal

from pydantic import BaseModel

from stowage.attention.found import fits
from stowage.aws.keys import read_key
from stowage.entry.http import http_app

app = http_app(None)


class Health(BaseModel):
    """`ok` when requests can be served and every declaration fits its tables; GET /api/v1/attention says what not."""

    status: Literal["ok", "not_ok"]


@app.get("/api/v1/health")
def get_health() -> Health:
    """Answer if the table can be read and sign-in is set up; 503 otherwise."""
    read_key("jwt")
    return Health(status="ok" if fits() else "not_ok")
