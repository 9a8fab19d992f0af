"""Hooks: functions of the adopter's own that validate or compute a field, in `hooks.py` beside the declarations.

A hook takes the field's value (None where none is given) and a mapping of the fields that are given, by their names in
the API, and returns the value to store. ValueError refuses the record in its words. The build packs the file as
`stowage_entities.hooks`; it is imported at the first record with a field that has a hook.
"""

import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from stowage.basics.errors import MisconfiguredError

logger = logging.getLogger(__name__)

MODULE = "stowage_entities.hooks"
FILE = "hooks.py"

type Hook = Callable[[Any, Mapping[str, Any]], Any]


def hook_named(name: str) -> Hook:
    """The hook of that name; MisconfiguredError `hooks_broken` where the file or the function cannot be used."""
    try:
        module = importlib.import_module(MODULE)
    except Exception as error:
        logger.exception("%s cannot be loaded", FILE)
        raise MisconfiguredError(f"{FILE} cannot be loaded ({type(error).__name__}).", "hooks_broken") from error
    if mistake := mistake_of(module, name):
        raise MisconfiguredError(f"{FILE}: {mistake}.", "hooks_broken")
    hook: Hook = getattr(module, name)
    return hook


def mistake_of(module: ModuleType, name: str) -> str | None:
    """Why a function of a module cannot be a hook, None where it can."""
    hook = getattr(module, name, None)
    if hook is None:
        return f"there is no function {name!r}"
    if not callable(hook) or inspect.iscoroutinefunction(hook):
        return f"{name!r} is no plain function"
    try:
        inspect.signature(hook).bind(None, {})
    except (TypeError, ValueError):
        return f"{name!r} does not take (value, record)"
    return None
