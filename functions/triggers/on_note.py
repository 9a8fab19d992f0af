"""The table's stream: do inside the network what functions outside it wrote down."""

from datetime import datetime

from stowage.entry.trigger import Images, table_trigger
from stowage.notes import carry_out


@table_trigger
def app(changes: list[Images], _now: datetime) -> dict[str, int]:
    """Answer what was done."""
    return carry_out([after for _, after in changes if after])
