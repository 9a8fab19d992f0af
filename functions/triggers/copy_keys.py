"""At deployment and hourly: copy the keys that verify tokens and links to where every function can read them."""

from datetime import datetime

from stowage.access.keys import copy_keys
from stowage.entry.deployment import on_deployment


@on_deployment
def app(_now: datetime) -> list[str]:
    """Answer which keys were copied."""
    return copy_keys()
