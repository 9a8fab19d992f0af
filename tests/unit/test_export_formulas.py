"""Formulas in CSV: neutralised without touching numbers, and undone exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stowage.exports.formats.formulas import neutralise, restore

TRICKY = st.text(alphabet="'=@+-\t\r\n0123456789.eE x", max_size=12) | st.text()


@given(TRICKY)
def test_an_import_gives_back_what_an_export_was_given(text: str) -> None:
    assert restore(neutralise(text)) == text


@given(TRICKY)
def test_no_neutralised_cell_begins_as_a_formula_unless_it_is_a_number(text: str) -> None:
    cell = neutralise(text)
    if cell[:1] in tuple("=@\t\r"):
        pytest.fail(cell)
    if cell[:1] in ("+", "-"):
        float(cell)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_numbers_stay_as_they_are(number: float) -> None:
    assert neutralise(str(number)) == str(number)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1", "'=1"),
        ("'=1", "''=1"),
        ("'-5", "''-5"),
        ("'text", "'text"),
        ("+49 30", "'+49 30"),
        ("+4930", "+4930"),
        ("-", "'-"),
    ],
)
def test_examples(text: str, cell: str) -> None:
    assert neutralise(text) == cell
