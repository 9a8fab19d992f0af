"""CRC32 of joined parts from the parts' own, as zlib's `crc32_combine` does, so that no byte is read again."""

import base64
import functools

POLYNOMIAL = 0xEDB88320


def encode(value: int) -> str:
    """The checksum as S3's headers carry it."""
    return base64.b64encode(value.to_bytes(4)).decode()


def combine(first: int, second: int, second_length: int) -> int:
    """The CRC32 of A + B, from those of A and B and the length of B in bytes."""
    return _apply(_shift(second_length), first) ^ second


def _apply(matrix: tuple[int, ...], vector: int) -> int:
    total, row = 0, 0
    while vector:
        if vector & 1:
            total ^= matrix[row]
        vector >>= 1
        row += 1
    return total


def _square(matrix: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(_apply(matrix, row) for row in matrix)


@functools.lru_cache(maxsize=64)
def _shift(length: int) -> tuple[int, ...]:
    """The operator that appends `length` zero bytes to a message."""
    power: tuple[int, ...] = (POLYNOMIAL, *(1 << bit for bit in range(31)))
    for _ in range(3):
        power = _square(power)
    operator: tuple[int, ...] = tuple(1 << bit for bit in range(32))
    while length:
        if length & 1:
            operator = tuple(_apply(power, row) for row in operator)
        power = _square(power)
        length >>= 1
    return operator
