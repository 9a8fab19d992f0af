"""What the pipeline reads from: the bytes of one artifact."""

from collections.abc import Iterator
from typing import Protocol


class Source(Protocol):
    """Bytes of one artifact, from a child process or a COPY."""

    rows: int
    """Data rows given so far; 0 where not known."""

    def chunks(self) -> Iterator[bytes]:
        """Give the bytes in order, 64 to 256 KiB each where the source can choose; `b""` at least every half second
        while there is nothing, so that a cancelled run is noticed.
        """
        ...

    def finish(self) -> None:
        """Return only if the source was whole (called after the last chunk).

        Raises RunError where no other attempt would help, TransientRunError where one may.
        """
        ...

    def close(self) -> None:
        """Free everything and kill the child; at any time, also twice."""
        ...
