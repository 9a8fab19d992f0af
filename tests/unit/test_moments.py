"""Times as records are given them: RFC 3339, and what our own answers say where it cannot."""

import pytest
from pydantic import TypeAdapter, ValidationError

from stowage.basics.moments import Moment

READ = TypeAdapter(Moment).validate_python


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T09:00:00Z", "2026-01-31 09:00:00.5Z", "infinity", "-infinity", "0044-03-15 12:00:00+00 BC",
        "0044-03-15 12:00:00.000001+00 BC", "10000-01-01 00:00:00+00", "294276-12-31 23:59:59.999999+00",
        "0044-03-15T12:00:00+00:00 BC", "0044-03-15T12:00:00.5+00:00 BC", "10000-01-01T00:00:00+00:00",
    ],
)  # fmt: skip
def test_what_answers_and_files_say_is_read_back(text: str) -> None:
    assert READ(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Infinity", "+infinity", "inf", "epoch", "now", "today", "0044-03-15 BC", "0044-03-15 12:00:00 BC",
        "44-03-15 12:00:00+00 BC", "0044-03-15T12:00:00+00 BC", "10000-01-01T00:00:00Z", "10000-01-01",
    ],
)  # fmt: skip
def test_other_ways_to_say_such_a_time_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        READ(text)
