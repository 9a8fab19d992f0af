"""GET /api/v1/health: whether the service answers."""

from pydantic import BaseModel

from stowage.aws.keys import read_key
from stowage.entry.http import http_app

app = http_app(None)


class Health(BaseModel):
    """`ok` when requests can be served."""

    status: str


@app.get("/api/v1/health")
def get_health() -> Health:
    """Answer if the table can be read and sign-in is set up; 503 otherwise."""
    read_key("jwt")
    return Health(status="ok")
