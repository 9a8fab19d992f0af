"""Code that is named, not imported: each function loads only what it comes to."""

from importlib import import_module
from typing import Any


def load(name: str) -> Any:
    """What `module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
