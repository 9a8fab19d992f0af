"""How an API key is written, and what is no key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.access.api_keys import LENGTH, PREFIX, make_key, read_text

KEY = make_key(b"a" * 32)


@given(st.binary(min_size=32, max_size=32))
def test_a_key_is_read_as_it_was_made(seed: bytes) -> None:
    key = make_key(seed)
    assert (len(key.text), len(key.id)) == (LENGTH, 9)
    assert key.text.startswith(PREFIX + key.id)
    assert read_text(key.text) == key
    assert make_key(seed) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        PREFIX,
        KEY.text[:-1],
        f"{KEY.text}0",
        KEY.text.replace(PREFIX, "sk_"),
        KEY.text.swapcase(),
        KEY.text[:20] + ("0" if KEY.text[20] != "0" else "1") + KEY.text[21:],
        KEY.text[:-1] + "é",
        PREFIX + "\0" * (LENGTH - len(PREFIX)),
    ],
)
def test_what_no_key_is_is_told_without_a_look_at_the_table(text: str) -> None:
    assert read_text(text) is None


def test_two_keys_differ_in_every_part() -> None:
    other = make_key(b"b" * 32)
    assert other.id != KEY.id
    assert other.text[13:46] != KEY.text[13:46]
