"""ECS's tasks as processes: RunTask starts the worker, StopTask ends it as ECS does, DescribeTasks tells."""

import contextlib
import datetime
import json
import os
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.configuration import ACCOUNT, REGION
from local.console import log
from local.forks import Fork

type Json = Any
KEEP_STOPPED = 500
DEFAULT_STOP_SECONDS = 30
"""ECS's `stopTimeout` on Fargate where the container gives none."""


class TaskError(Exception):
    """An ECS error: its code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Task:
    """One task and, once it started, its process."""

    arn: str
    definition: Json
    request: Json
    cluster_arn: str
    process: Fork | None = None
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    stopping_at: float | None = None
    stopped_at: float | None = None
    exit_code: int | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def container(self) -> Json:
        """The definition of its only container."""
        return self.definition["containerDefinitions"][0]

    def describe(self) -> Json:
        """The task as DescribeTasks gives it, times in seconds since 1970."""
        status = "STOPPED" if self.stopped.is_set() else "RUNNING" if self.started_at else "PROVISIONING"
        container = {
            "containerArn": f"{self.arn.replace(':task/', ':container/')}/1",
            "taskArn": self.arn,
            "name": self.container["name"],
            "image": self.container.get("image"),
            "lastStatus": status,
            "exitCode": self.exit_code,
            "runtimeId": str(self.process.pid) if self.process else None,
        }
        description = {
            "taskArn": self.arn,
            "clusterArn": self.cluster_arn,
            "taskDefinitionArn": self.definition["taskDefinitionArn"],
            "group": f"family:{self.definition['family']}",
            "launchType": self.request.get("launchType", "FARGATE"),
            "platformVersion": "1.4.0",
            "cpu": self.definition.get("cpu"),
            "memory": self.definition.get("memory"),
            "lastStatus": status,
            "desiredStatus": "STOPPED" if self.stopping_at or self.stopped_at else "RUNNING",
            "containers": [{key: value for key, value in container.items() if value is not None}],
            "overrides": self.request.get("overrides", {"containerOverrides": []}),
            "startedBy": self.request.get("startedBy"),
            "createdAt": self.created_at,
            "startedAt": self.started_at,
            "stoppingAt": self.stopping_at,
            "stoppedAt": self.stopped_at,
            "stopCode": self.stop_code,
            "stoppedReason": self.stopped_reason,
            "version": 1,
            "tags": [],
            "attachments": [],
        }
        return {key: value for key, value in description.items() if value is not None}


class Tasks:
    """All tasks of this run of the stack."""

    def __init__(
        self,
        start_process: Callable[[dict[str, str]], Fork],
        environment: dict[str, str],
        definition_of: Callable[[str], Json],
        secret_of: Callable[[str], str],
        on_change: Callable[[Json], None],
    ) -> None:
        self._start_process, self._environment = start_process, environment
        self._definition_of, self._secret_of, self._on_change = definition_of, secret_of, on_change
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()
        self.not_started: list[str] = []
        """Reasons that the next tasks fail to start with, for tests of that."""

    def run(self, request: Json) -> Json:
        """RunTask."""
        definition = self._definition_of(request["taskDefinition"])
        cluster = request.get("cluster", "default").rpartition("/")[2]
        arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{cluster}/{uuid.uuid4().hex}"
        task = Task(arn, definition, request, f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{cluster}")
        with self._lock:
            self._tasks[arn] = task
            self._forget_old()
        if self.not_started:
            task.stop_code, task.stopped_reason = "TaskFailedToStart", self.not_started.pop(0)
            self._stopped(task)
        else:
            self._start(task)
        return {"tasks": [task.describe()], "failures": []}

    def describe(self, request: Json) -> Json:
        """DescribeTasks."""
        found = [self._tasks[arn] for arn in request["tasks"] if arn in self._tasks]
        missing = [{"arn": arn, "reason": "MISSING"} for arn in request["tasks"] if arn not in self._tasks]
        return {"tasks": [task.describe() for task in found], "failures": missing}

    def stop(self, request: Json) -> Json:
        """StopTask: SIGTERM, and SIGKILL to the whole container after its stop timeout."""
        task = self._tasks.get(request["task"])
        if task is None:
            raise TaskError("InvalidParameterException", "The referenced task was not found.")
        process = task.process
        if process and not task.stopping_at and not task.stopped.is_set():
            task.stopping_at = time.time()
            task.stop_code, task.stopped_reason = "UserInitiated", request.get("reason", "Task stopped by user")
            process.signal(signal.SIGTERM)
            threading.Thread(target=self._kill_late, args=(task, process), daemon=True).start()
        return {"task": task.describe()}

    def list(self, request: Json) -> Json:
        """ListTasks: those that run, or those that have stopped."""
        stopped = request.get("desiredStatus", "RUNNING") == "STOPPED"
        arns = [task.arn for task in self._tasks.values() if bool(task.stopped.is_set()) == stopped]
        return {"taskArns": arns}

    def wait(self, arn: str, seconds: float) -> Json | None:
        """The task once it has stopped; None when the seconds are over."""
        task = self._tasks[arn]
        return task.describe() if task.stopped.wait(seconds) else None

    def close(self) -> None:
        """End all tasks: three seconds to clean up, then SIGKILL."""
        running = [task for task in self._tasks.values() if task.process and not task.stopped.is_set()]
        for task in running:
            self.stop({"task": task.arn, "reason": "The local stack stops."})
        deadline = time.monotonic() + 3
        for task in running:
            if not task.stopped.wait(max(0, deadline - time.monotonic())) and task.process:
                task.process.signal(signal.SIGKILL)
                task.stopped.wait(1)

    def _start(self, task: Task) -> None:
        folder = tempfile.mkdtemp(prefix="stowage-task-")
        task.process = self._start_process(self._container_environment(task) | {"TMPDIR": folder})
        task.started_at = time.time()
        self._on_change(task.describe())
        threading.Thread(target=self._follow, args=(task, task.process, folder), daemon=True).start()

    def _container_environment(self, task: Task) -> dict[str, str]:
        container, environment = task.container, dict(self._environment)
        overrides = [
            override
            for override in task.request.get("overrides", {}).get("containerOverrides", [])
            if override.get("name") == container["name"]
        ]
        for source in (container, *overrides):
            environment |= {entry["name"]: str(entry["value"]) for entry in source.get("environment", [])}
        environment |= {entry["name"]: self._secret_of(entry["valueFrom"]) for entry in container.get("secrets", [])}
        return environment

    def _follow(self, task: Task, process: Fork, folder: str) -> None:
        code = process.wait()
        # Nothing in a container outlives its first process, its temporary files neither.
        process.signal(signal.SIGKILL)
        _kill_users(folder)
        shutil.rmtree(folder, ignore_errors=True)
        task.exit_code = 128 - code if code < 0 else code
        if task.stop_code is None:
            task.stop_code, task.stopped_reason = "EssentialContainerExited", "Essential container in task exited"
        self._stopped(task)

    def _stopped(self, task: Task) -> None:
        task.stopped_at = time.time()
        task.stopped.set()
        if task.exit_code != 0:
            log(
                f"worker task {task.arn[-8:]} ended: {task.stopped_reason}, exit code {task.exit_code} (see worker.log)"
            )
        self._on_change(task.describe())

    def _kill_late(self, task: Task, process: Fork) -> None:
        if not task.stopped.wait(task.container.get("stopTimeout", DEFAULT_STOP_SECONDS)):
            process.signal(signal.SIGKILL)

    def _forget_old(self) -> None:
        stopped = [arn for arn, task in self._tasks.items() if task.stopped.is_set()]
        for arn in stopped[:-KEEP_STOPPED]:
            del self._tasks[arn]


def _kill_users(folder: str) -> None:
    """Kill what a task has left: pg_dump leads a session of its own, but keeps the task's TMPDIR. Linux only."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={folder}".encode() in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)


def event_detail(task: Json) -> Json:
    """The detail of `ECS Task State Change`: the task, its times in RFC 3339.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
    """
    detail = json.loads(json.dumps(task))
    for key in ("createdAt", "startedAt", "stoppingAt", "stoppedAt"):
        if key in detail:
            when = datetime.datetime.fromtimestamp(detail[key], datetime.UTC)
            detail[key] = when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return detail
