"""EventBridge's event patterns, as rules and the filters of event source mappings use them.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from typing import Any

type Json = Any


def matches(pattern: Json, event: Json) -> bool:
    """Whether an event matches: each field of the pattern, and one alternative of each list."""
    for key, wanted in pattern.items():
        if key == "$or":
            if not any(matches(alternative, event) for alternative in wanted):
                return False
            continue
        present = isinstance(event, dict) and key in event
        value = event[key] if present else None
        if isinstance(wanted, dict):
            if not (isinstance(value, dict) and matches(wanted, value)) and not _accepts_absence(wanted, present):
                return False
        elif not _any_matches(wanted, value, present):
            return False
    return True


def _accepts_absence(pattern: Json, present: bool) -> bool:
    """Whether every leaf below says that it may be missing."""
    return not present and all(
        _accepts_absence(wanted, False) if isinstance(wanted, dict) else _any_matches(wanted, None, False)
        for wanted in pattern.values()
    )


def _any_matches(alternatives: list[Json], value: Json, present: bool) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(_matches_one(wanted, element, present) for wanted in alternatives for element in values)


def _matches_one(wanted: Json, value: Json, present: bool) -> bool:
    if not isinstance(wanted, dict):
        return present and value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
    [(operator, argument)] = wanted.items()
    if operator == "exists":
        return present is bool(argument)
    if not present:
        return False
    match operator:
        case "prefix":
            return isinstance(value, str) and value.startswith(argument)
        case "suffix":
            return isinstance(value, str) and value.endswith(argument)
        case "equals-ignore-case":
            return isinstance(value, str) and value.lower() == argument.lower()
        case "anything-but":
            return not _excluded(argument, value)
        case "numeric":
            return _compares(argument, value)
    raise ValueError(f"The local stack does not know the pattern operator {operator}; see local/event_patterns.py")


def _excluded(argument: Json, value: Json) -> bool:
    if isinstance(argument, dict):
        return _matches_one(argument, value, True)
    return value in argument if isinstance(argument, list) else value == argument


def _compares(argument: list[Json], value: Json) -> bool:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return False
    comparisons = {
        "=": lambda bound: number == bound,
        "<": lambda bound: number < bound,
        "<=": lambda bound: number <= bound,
        ">": lambda bound: number > bound,
        ">=": lambda bound: number >= bound,
    }
    return all(comparisons[sign](float(bound)) for sign, bound in zip(argument[::2], argument[1::2], strict=True))
