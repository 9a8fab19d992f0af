"""The pool of function workers grows with the events at once, up to its limit, and shrinks when they are over."""

import json
from pathlib import Path

from tests.structure.fresh_python import run_python

HANDLER = """
import os, time

def app(event, context):
    time.sleep(event)
    return os.getpid()
"""
STORY = """
import json, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from local.children import Children
from local.function_pool import FunctionPool, Invocation

folder = Path({folder!r})
children = Children()
pool = FunctionPool(children, [str(folder)], folder / "log", limit=6, kept=6, idle_seconds=0.2)
pool.launch()
invocation = Invocation("light", "light.app", (), 128, 30.0)

def call(seconds):
    outcome = pool.invoke(invocation, json.dumps(seconds).encode())
    assert not outcome.error, outcome.payload
    return json.loads(outcome.payload)

def shrunk(size):
    deadline = time.monotonic() + 20
    while pool.size > size and time.monotonic() < deadline:
        time.sleep(0.02)
    return pool.size

def gone(pid):
    deadline = time.monotonic() + 20
    while Path(f"/proc/{{pid}}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not Path(f"/proc/{{pid}}").exists()

told = {{}}
with ThreadPoolExecutor(10) as callers:
    used = set(callers.map(call, [0.3] * 10))
    told["at once"] = [len(used), pool.size]
    pool.kept = 2
    busy = [callers.submit(call, 3) for _ in range(3)]
    told["while three are busy"] = shrunk(3)
    told["ends of the busy"] = len({{each.result() for each in busy}})
told["idle"] = shrunk(2)
kept = [pid for pid in used if Path(f"/proc/{{pid}}").exists()]
told["gone"] = all(gone(pid) for pid in used - set(kept))
told["answers"] = call(0) in used
pool.close()
children.close()
print(json.dumps(told))
"""


def test_the_pool_shrinks_when_its_workers_are_idle_and_never_under_an_event(tmp_path: Path) -> None:
    (tmp_path / "light.py").write_text(HANDLER)
    told = json.loads(run_python(STORY.format(folder=str(tmp_path))))
    assert told == {
        "at once": [6, 6],
        "while three are busy": 3,
        "ends of the busy": 3,
        "idle": 2,
        "gone": True,
        "answers": True,
    }
