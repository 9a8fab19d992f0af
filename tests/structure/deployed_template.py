"""template.yaml as CloudFormation would carry it out, with `<Name>` standing for what only AWS knows."""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch

from local.resolver import Resolver
from local.template import parameter_values, parse_yaml, replace_markers, resources, transform
from tests.structure.repository import ROOT, module_of

type Resource = dict[str, Any]
type Resources = dict[str, Resource]

TEMPLATE = ROOT / "template.yaml"
GIVEN = {
    "DatabaseUrl": "postgresql://database.example.com:5432/app?sslmode=verify-full",
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupIds": "sg-1",
    "WorkerImage": "registry.example.com/stowage-worker:1",
}
"""Values of the parameters that have no default."""

VARIANTS: dict[str, dict[str, str]] = {
    "defaults": {},
    "passwords from a secret": {
        "DatabaseLogin": "secret",
        "DatabaseSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:database-AbCdEf",
    },
    "notices": {
        "NotifySender": "stowage@example.com",
        "TelegramSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:bot-AbCdEf",
        "PublicUrl": "https://data.example.com",
    },
    "every backup in the worker": {"ImageMaxBytes": "0"},
    "keys of the owner": {
        "KmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/1",
        "JwtSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:jwt-AbCdEf",
        "AlarmEmail": "ops@example.com",
        "ObjectLockBackups": "true",
        "ConsoleOrigins": "https://app.example.com,https://admin.example.com",
    },
}
"""Parameters under which the template's conditions take each of their sides."""


REGION = "eu-central-1"


@cache
def source() -> dict[str, Any]:
    """The template as it is written."""
    parsed: dict[str, Any] = parse_yaml(TEMPLATE.read_text())
    return parsed


@cache
def transformed() -> dict[str, Any]:
    """The template after AWS's own translation of the Serverless resources, conditions unresolved.

    That takes seconds, and every process of the tests needs it: the first one translates, the others wait.
    """
    folder = ROOT / ".stowage" / "cache" / REGION
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock, patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}):
        fcntl.flock(lock, fcntl.LOCK_EX)
        return transform(TEMPLATE, folder)


class _Names(Mapping[str, Any]):
    """A parameter's value by its name, and for any other name `<Name>`."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters

    def __getitem__(self, name: str) -> Any:
        return self._parameters.get(name, f"<{name}>")

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


@cache
def deployed(variant: str = "defaults") -> Resources:
    """Every resource that exists under a variant's parameters, its references resolved."""
    return deployed_with(**VARIANTS[variant])


def deployed_with(**parameters: str) -> Resources:
    """The same for parameters of one's own."""
    values = parameter_values(transformed(), GIVEN | parameters)
    template = replace_markers(transformed(), values)
    return resources(template, Resolver(_Names(values), template.get("Conditions", {}), template.get("Mappings", {})))


def of_type(found: Resources, kind: str) -> dict[str, Any]:
    """The properties of the resources of one type, by logical id."""
    return {name: resource["Properties"] for name, resource in found.items() if resource["Type"] == kind}


def functions(variant: str = "defaults") -> dict[str, Any]:
    """The properties of the functions that are handlers, by logical id."""
    found = of_type(deployed(variant), "AWS::Lambda::Function")
    return {name: properties for name, properties in found.items() if "Handler" in properties}


def image_function() -> dict[str, Any]:
    """The properties of the one function that is made from the worker's image."""
    found = of_type(deployed(), "AWS::Lambda::Function")
    [properties] = [properties for properties in found.values() if properties.get("PackageType") == "Image"]
    return dict(properties)


def function_by_module() -> dict[str, str]:
    """The logical id of each handler's module."""
    return {module_of(properties["Handler"]): name for name, properties in functions().items()}


def paths_of(found: Resources, function: str) -> list[str]:
    """The paths of the API that a function answers."""
    return [
        path
        for path, methods in found["Api"]["Properties"]["Body"]["paths"].items()
        if f"<{function}.Arn>" in json.dumps(methods)
    ]


@dataclass(frozen=True)
class Statement:
    """One statement of a role's policies."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: str


def statements(found: Resources, role: str) -> list[Statement]:
    """What a role may and may not do, its managed policies of this template included."""
    properties = found[role]["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    documents += [
        found[arn[1:-1]]["Properties"]["PolicyDocument"]
        for arn in properties.get("ManagedPolicyArns", [])
        if arn.startswith("<") and arn.endswith(">")
    ]
    return [
        Statement(
            statement["Effect"],
            _tuple(statement["Action"]),
            tuple(map(_arn_of_queue, _tuple(statement["Resource"]))),
            repr(statement["Condition"]) if "Condition" in statement else "",
        )
        for document in documents
        for statement in document["Statement"]
    ]


def _arn_of_queue(resource: str) -> str:
    """SAM's own policies put a queue's ARN together from its name."""
    return re.sub(
        r"^arn:<AWS::Partition>:sqs:<AWS::Region>:<AWS::AccountId>:<(\w+)\.QueueName>$", r"<\1.Arn>", resource
    )


def role_of(found: Resources, function: str) -> str:
    """The logical id of a function's role."""
    return str(found[function]["Properties"]["Role"]).removeprefix("<").removesuffix(".Arn>")


def _tuple(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
