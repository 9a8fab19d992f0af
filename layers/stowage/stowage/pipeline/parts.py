"""How a stream of unknown length is cut into the parts of a multipart upload."""

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024
FIRST_PART_BYTES = 5 * MEBIBYTE
"""S3 takes no smaller part but the last (S3 user guide, "Multipart upload limits")."""
LARGEST_PART_BYTES = 640 * MEBIBYTE
"""Our own cap, because each part waits in memory whole; S3's is 5 GiB."""
PARTS_PER_SIZE = 1024
MOST_PARTS = 10_000
"""S3's limit (the same page)."""


@dataclass(frozen=True)
class Part:
    """One part as storage has it: its number from 1, the tag that storage gave, its CRC32 (base64)."""

    number: int
    etag: str
    crc32: str


def part_size(number: int) -> int:
    """Give the bytes of part `number` (1 to 10,000): 5 MiB, doubling every 1,024 parts up to 640 MiB.

    So the first 5 GiB cost 5 MiB of memory a part, the first 75 GiB at most 40, and 10,000 parts hold 2.4 TiB.
    """
    return min(FIRST_PART_BYTES << ((number - 1) // PARTS_PER_SIZE), LARGEST_PART_BYTES)
