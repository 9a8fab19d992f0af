"""A front of the API that lets pages of every site in, as AWS's gateway does and the local stack's does not: behind it
are the running stack's own functions. The product itself must refuse what such a page may not do.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.config import Config

from local.configuration import ACCOUNT, REGION
from local.function_pool import Outcome
from local.functions import Function
from local.gateway import Gateway, refuse
from local.http_server import Server
from tests.conftest import RunningStack
from tests.structure.deployed_template import transformed

ORIGINS = ["http://localhost:3000"]


class RunningFunctions:
    """The functions of a running stack, for a gateway elsewhere."""

    def __init__(self, stack: RunningStack) -> None:
        config = Config(read_timeout=40, retries={"total_max_attempts": 1}, max_pool_connections=20)
        self._client = stack.aws("lambda", config=config)
        self._names = stack.resources

    def __getitem__(self, arn: str) -> Function:
        logical_id = arn.rpartition(":")[2]
        return Function(logical_id, self._names[logical_id], "", 30, 128, ())

    def invoke(self, function: Function, event: bytes, timeout: float | None = None) -> Outcome:
        answer = self._client.invoke(FunctionName=function.name, Payload=event)
        return Outcome(answer.get("FunctionError", ""), answer["Payload"].read())

    def close(self) -> None:
        self._client.close()


@contextmanager
def open_front(stack: RunningStack) -> Iterator[RunningStack]:
    """The stack as one sees it through that front: `api_url` is the front's."""
    body = json.dumps(transformed()["Resources"]["Api"]["Properties"]["Body"]["paths"])
    paths = re.sub(r"\$\{(\w+)\.Arn\}", rf"arn:aws:lambda:{REGION}:{ACCOUNT}:function:\1", body)
    paths = re.sub(r'\{"Fn::Sub": ("[^"]*")\}', r"\1", paths)
    functions: Any = RunningFunctions(stack)
    gateway = Gateway(functions, lambda: "the test's own")
    cors = {"allowOrigins": ORIGINS, "allowCredentials": True}
    gateway.add_api({"Body": {"paths": json.loads(paths), "x-amazon-apigateway-cors": cors}})
    server = Server(0, lambda _: None, refuse)
    server.answer = gateway.answer
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield RunningStack(stack.home, stack.description | {"api_url": f"http://127.0.0.1:{server.server_address[1]}"})
    server.shutdown()
    server.server_close()
    functions.close()
