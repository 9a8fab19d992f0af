"""AWS as this machine plays it: moto with its mends, and everything beside moto, wired by the template."""

import logging
import os
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from local import (
    custom_resources,
    deployment,
    event_bus,
    mends,
    moto_services,
    parameters,
    resources,
    tasks,
    template_check,
)
from local.aws_server import AwsServer, Moto
from local.children import Children
from local.clock import Clock
from local.code_watch import CodeWatch
from local.configuration import Configuration, layers
from local.declarations import compile_again, compile_declarations
from local.event_bus import EventBus
from local.expiry import Expiry
from local.forks import Launcher
from local.function_pool import FunctionPool, Outcome
from local.functions import Function, Functions
from local.gateway import Gateway
from local.mail import Mailbox
from local.memory import resident_megabytes
from local.mends import Hooks
from local.postgres import binaries
from local.queues import Queues
from local.s3.files import FileStore
from local.s3.objects import Objects
from local.snapshot import Snapshot
from local.streams import Streams
from local.tasks import Tasks
from stowage.postgres.session.command_line import connect_as
from stowage.runs.kinds import KINDS

type Json = Any


class Cloud:
    """Every part of the cloud; `deploy` fills them from the template."""

    def __init__(
        self, configuration: Configuration, environment: dict[str, str], children: Children, pool: FunctionPool
    ) -> None:
        self._configuration, self._environment, self._pool = configuration, environment, pool
        root, endpoint = configuration.root, configuration.aws_endpoint_url
        hooks = Hooks(
            wait_for_task=self._wait_for_task,
            stop_task=lambda arn, reason: self.tasks.stop({"task": arn, "reason": reason}),
            execution_changed=self._execution_changed,
        )
        # moto's engine logs every failed state as an error, with its whole syntax tree.
        logging.basicConfig(filename=configuration.logs / "moto.log", level=logging.WARNING, force=True)
        mends.apply(hooks, endpoint)
        self._moto = Moto()
        self._queue_store = moto_services.MotoQueues(self._moto)
        self._store = FileStore(configuration.home / "objects")
        compile_declarations(root)
        code = CodeWatch(root / "functions", root / "console", *layers(root))
        template = CodeWatch(root / "template.yaml", root / "statemachines")
        self.functions = Functions(pool, code, template, lambda: self._take_new_code(root), self._give_up)
        self._bus = EventBus(self.functions)
        paths = [str(path) for path in (root, *layers(root))]
        log = str(configuration.logs / "worker.log")
        self._launcher = Launcher(children, "local.preload_tasks", "worker", paths, log)
        works = {kind.work.partition(":")[0] for kind in KINDS.values()} - {""}
        self._launcher.prepare(["stowage.runs.lane", *sorted(works)], environment | _image_environment())
        self.tasks = Tasks(
            self._launcher.start,
            environment | _image_environment(),
            definition_of=lambda name: moto_services.task_definition(self._moto, name),
            secret_of=moto_services.secret_value,
            on_change=self._task_changed,
        )
        self.gateway = Gateway(self.functions, lambda: f"{resident_megabytes()} MB, {pool.size} workers")
        self._streams = Streams(self.functions, moto_services.MotoTables(self._moto).drain, self._queue_store.send)
        self._queues = Queues(self.functions, self._queue_store.receive, self._queue_store.delete)
        self._clock = Clock(self.functions)
        self._expiry = Expiry(self._moto, self._streams.written)
        self._snapshot = Snapshot(configuration.home / "state", self._moto, self._store)
        objects = Objects(self._store, self._moto.locked("s3"))
        mailbox = Mailbox(configuration.home / "mail")
        self.aws = AwsServer(self._moto, self.functions, self.tasks, objects, self._bus, mailbox, self._written)

    def deploy(self, database_url: str) -> None:
        """Create what the template declares, with the data of the last run in it."""
        given = parameters.parameters(self._configuration, database_url, parameters.overrides(dict(os.environ)))
        template_check.check(self._configuration.root / "template.yaml")
        self.deployment = deployed = deployment.resolve(self._configuration, given)
        resources.create(deployed, self._configuration.aws_endpoint_url)
        self._snapshot.restore()
        for function in self._declared_functions():
            self.functions.add(function)
        tables = {
            f"{deployed.known[name]}": deployed.known[f"{name}.StreamArn"]
            for name in deployed.of_type("AWS::DynamoDB::Table")
        }
        table_of_stream = {arn: name for name, arn in tables.items()}
        for properties in deployed.of_type("AWS::Lambda::EventSourceMapping").values():
            if properties["EventSourceArn"] in table_of_stream:
                self._streams.add(properties, table_of_stream[properties["EventSourceArn"]])
            else:
                self._queues.add(properties)
        for properties in deployed.of_type("AWS::Events::Rule").values():
            self._bus.add_rule(properties)
        for properties in deployed.of_type("AWS::Scheduler::Schedule").values():
            self._clock.add(properties)
        for properties in deployed.of_type("AWS::ApiGatewayV2::Api").values():
            self.gateway.add_api(properties)

    def warm(self, count: int) -> None:
        """Have workers ready for the environment that most functions share."""
        functions = self._declared_functions()
        environments = [function.environment for function in functions]
        modules = sorted({function.handler.rpartition(".")[0] for function in functions})
        self._pool.warm(max(set(environments), key=environments.count), modules, count)

    def _declared_functions(self) -> list[Function]:
        return self.deployment.functions(self._environment, _image_environment())

    def create_custom_resources(self) -> None:
        """Run the custom resources' functions; StartError where one fails."""
        for logical_id, resource in self.deployment.resources.items():
            if "ServiceToken" in resource["Properties"]:
                custom_resources.create(
                    logical_id, resource, self.functions, self.aws, self._configuration.aws_endpoint_url
                )

    def start(self) -> None:
        """Let events flow."""
        self._streams.start()
        self._streams.written()
        self._queues.start()
        self._clock.start()
        self._expiry.start()
        self._snapshot.start()

    def stop(self) -> None:
        """Stop events and tasks, then save the data."""
        self.functions.closing.set()
        self._clock.stop()
        self._expiry.stop()
        self._queues.stop()
        self._streams.stop()
        self.tasks.close()
        self._launcher.close()
        self._snapshot.stop()

    def tenants(self, owner_url: str) -> list[Json]:
        """The registered tenants, oldest first."""
        with connect_as(owner_url) as connection:
            connection.execute("SET ROLE stowage_owner")
            with connection.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(
                    "SELECT id, slug, name FROM control_plane.projects ORDER BY created_at, id"
                ).fetchall()

    def _take_new_code(self, root: Path) -> None:
        compile_again(root)
        self._launcher.renew()

    def _written(self, service: str) -> None:
        if service == "dynamodb":
            self._streams.written()
        else:
            self._queues.sent()

    def _give_up(self, function: Function, event: bytes, outcome: Outcome) -> None:
        if function.dead_letter_arn:
            self._queue_store.send(function.dead_letter_arn, event.decode())

    def _execution_changed(self, execution: Any) -> None:
        detail = event_bus.execution_detail(execution)
        self._bus.emit("aws.states", "Step Functions Execution Status Change", detail, [execution.exec_arn])

    def _wait_for_task(self, arn: str, seconds: float) -> Json | None:
        return self.tasks.wait(arn, seconds)

    def _task_changed(self, task: Json) -> None:
        self._bus.emit("aws.ecs", "ECS Task State Change", tasks.event_detail(task), [task["taskArn"]])


def _image_environment() -> dict[str, str]:
    """What the worker's image holds beside the code: Postgres's programs on the path."""
    return {"PATH": f"{binaries()}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
