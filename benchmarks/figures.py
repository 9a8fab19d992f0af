"""How a figure is told: both sides, their ratio, and the goal."""

from typing import Literal


def told(
    name: str,
    seconds: float,
    floor: float,
    goal: float,
    *,
    at_least: bool = False,
    unit: Literal["s", "ms"] | None = "s",
) -> bool:
    """Print one ratio with both its sides, in `unit` or of none; whether the goal is met."""
    ratio = seconds / floor
    met = ratio >= goal if at_least else ratio <= goal
    scale = 1000 if unit == "ms" else 1
    of = f" {unit}" if unit else ""
    sides = f"{seconds * scale:.2f}{of} / {floor * scale:.2f}{of}"
    print(f"{name}: {sides} = {ratio:.2f} (goal {'≥' if at_least else '≤'} {goal}) {'met' if met else 'MISSED'}")
    return met
