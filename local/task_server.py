"""`python -m local.task_server MODULE LOG PATH…`: runs a module as `python -m` does, once for each line of its input.

Each line is an environment as JSON. Each run is a fork of this process, which has the third-party
modules of the worker's image already, and none of the product. It prints the number of each process
that it starts, and the number and the exit code of each that has ended.
"""

import contextlib
import functools
import json
import os
import runpy
import signal
import sys

import botocore.auth
import botocore.httpsession
import botocore.retryhandler
import botocore.session
import psycopg
import pydantic

from local.configuration import REGION
from local.function_worker import move_in

__all__ = ["botocore", "psycopg", "pydantic"]
_ENDS = {signal.SIGCHLD}


def main(module: str, log: str, paths: list[str]) -> None:
    """Start processes until the input ends; in each of them, run the module."""
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    session = botocore.session.get_session()
    for service in ("dynamodb", "s3"):
        session.create_client(service, region_name=REGION)
    signal.signal(signal.SIGCHLD, _tell_ends)
    for line in sys.stdin:
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # a start is told before its end
        started = os.fork()
        if not started:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        else:
            _tell(f"{started}\n")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
        if not started:
            move_in(paths, json.loads(line), log)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            return


def _tell_ends(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(f"{ended[0]} {os.waitstatus_to_exitcode(ended[1])}\n")


def _tell(line: str) -> None:
    os.write(1, line.encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
