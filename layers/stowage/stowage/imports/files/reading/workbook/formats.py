"""What a cell's number means by its format (ECMA-376 Part 1, §18.8.30 and §18.8.31)."""

import re
from typing import Literal

type Kind = Literal["number", "date", "moment", "time", "duration"]

_DATES = frozenset([*range(14, 18), *range(27, 32), 34, 35, 36, *range(50, 55), 57, 58])
_TIMES = frozenset([*range(18, 22), 32, 33, 45, 47, 55, 56])
_NOT_CODE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!(?:h+|m+|s+)\])[^\]]*\]', re.IGNORECASE)
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)


def kind_of(number: int, code: str | None) -> Kind:
    """What numbers of that format are; `code` is None for a built-in one."""
    if code is None:
        built_in: dict[int, Kind] = {22: "moment", 46: "duration"}
        return built_in.get(number, "date" if number in _DATES else "time" if number in _TIMES else "number")
    section = _NOT_CODE.sub("", code).split(";")[0].lower()
    if _ELAPSED.search(section):
        return "duration"
    has_time = re.search("[hs]", section)
    if re.search("[yd]|mmm", section) or ("m" in section and not has_time):
        return "moment" if has_time else "date"
    return "time" if has_time else "number"


_TOKEN = re.compile(r'"([^"]*)"|\\(.)|_(.)|\*.|\[[^\]]*\]|([0#?])|([-+ ()\':!^&~{}<>=$])|(.)', re.DOTALL)


def zeros_of(code: str | None) -> str | None:
    """The pattern of a format that shows whole numbers with leading zeros (`00000`, `000-00-0000`), else None.

    In a pattern `0` stands for a digit and every other character for itself.
    """
    if code is None:
        return None
    pattern, places = "", ""
    for quoted, escaped, space, digit, sign, other in _TOKEN.findall(code):
        if other == ";":
            break
        literal = quoted or escaped or (" " if space else sign)
        places += digit
        # A place that may stay empty (#) is filled like the digits before the first zero, if it stands there.
        if other or "0" in literal or "0#" in places or "?" in places or (literal and places.endswith("#")):
            return None
        pattern += literal or digit.replace("#", "")
    return pattern if pattern.count("0") > 1 else None


def with_zeros(number: int, pattern: str) -> str:
    """A number as the pattern shows it; digits that find no place stand before the first."""
    digits = str(abs(number)).zfill(pattern.count("0"))
    left = len(digits) - pattern.count("0")
    shown, taken = "", 0
    for character in pattern:
        if character != "0":
            shown += character
            continue
        until = taken + 1 + (left if taken == 0 else 0)
        shown, taken = shown + digits[taken:until], until
    return f"-{shown}" if number < 0 else shown
