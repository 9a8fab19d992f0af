"""The template resolved: every resource that it declares, with every reference in it replaced by a value."""

import json
import re
from dataclasses import dataclass
from typing import Any

from local import kept_secrets, template
from local.configuration import ACCOUNT, REGION, Configuration
from local.functions import ASYNCHRONOUS_RETRIES, Function
from local.identities import STACK, identities, name_of, physical_name
from local.known_properties import Known
from local.moto_services import create_secret
from local.resolver import Resolver

type Json = Any
_BUCKET_ORIGIN = re.compile(r"https://[a-z0-9.-]+\.s3(\.[a-z0-9-]+)?\.amazonaws\.com")

_NETWORK = "every function reaches this machine's own network"
_LOGGING: Known = {
    "LogFormat": "logs are files in the home's folder logs",
    "LogGroup": "logs are files in the home's folder logs",
}
PROPERTIES: dict[str, Known] = {
    "AWS::Serverless::Function": {
        "Architectures": "functions run on this machine's processor",
        "CodeUri": ...,
        "DeadLetterQueue": {"TargetArn": ..., "Type": "for the policy of the function's role"},
        "Description": "for readers",
        "Environment": {"Variables": ...},
        "EventInvokeConfig": {
            "MaximumEventAgeInSeconds": "an event is taken at once here",
            "MaximumRetryAttempts": ...,
        },
        "Events": ...,
        "FunctionName": ...,
        "Handler": ...,
        "Layers": "the folders of all layers are on the path",
        "LoggingConfig": _LOGGING,
        "MemorySize": ...,
        "Policies": "the local stack checks no permissions; tests/structure does",
        "Role": "the local stack checks no permissions; tests/structure does",
        "Runtime": "functions run under this Python",
        "Timeout": ...,
        "VpcConfig": {"SecurityGroupIds": _NETWORK, "SubnetIds": _NETWORK},
    },
    "AWS::Lambda::Function": {
        "Architectures": "functions run on this machine's processor",
        "Code": {"ImageUri": "the worker's image is this repository and Postgres's programs"},
        "Description": "for readers",
        "Environment": {"Variables": ...},
        "ImageConfig": {"Command": ..., "EntryPoint": "local/function_worker.py is the runtime"},
        "LoggingConfig": _LOGGING,
        "MemorySize": ...,
        "PackageType": ...,
        "Role": "the local stack checks no permissions; tests/structure does",
        "Timeout": ...,
        "VpcConfig": {"SecurityGroupIds": _NETWORK, "SubnetIds": _NETWORK},
    },
    "AWS::Serverless::LayerVersion": {
        "CompatibleArchitectures": "for AWS",
        "CompatibleRuntimes": "for AWS",
        "ContentUri": ...,
        "Description": "for readers",
        "RetentionPolicy": "no version of a layer is kept here",
    },
}
"""What of functions and layers is used here, and what is not."""


@dataclass(frozen=True)
class Deployment:
    """The resolved template."""

    resources: dict[str, dict[str, Json]]
    known: dict[str, str]
    secrets: dict[str, str]
    """The value of each generated secret by logical id."""

    @property
    def names(self) -> dict[str, str]:
        """The name of each resource by logical id."""
        return {logical_id: name_of(logical_id, resource) for logical_id, resource in self.resources.items()}

    def of_type(self, kind: str) -> dict[str, Json]:
        """Properties by logical id."""
        return {
            logical_id: resource["Properties"]
            for logical_id, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def functions(self, process_environment: dict[str, str], image_environment: dict[str, str]) -> list[Function]:
        """The functions, with their processes' environment; those of the worker's image have its own too."""
        return [
            _function(
                logical_id,
                properties,
                self.known[logical_id],
                process_environment | (image_environment if _is_image(properties) else {}),
                self._retries(self.known[logical_id]),
            )
            for logical_id, properties in self.of_type("AWS::Lambda::Function").items()
        ]

    def _retries(self, name: str) -> int:
        """How often a failed asynchronous invocation of a function is tried again."""
        for properties in self.of_type("AWS::Lambda::EventInvokeConfig").values():
            if properties["FunctionName"] == name:
                return int(properties.get("MaximumRetryAttempts", ASYNCHRONOUS_RETRIES))
        return ASYNCHRONOUS_RETRIES

    def physical_ids(self) -> dict[str, str]:
        """What `Ref` gives, by logical id, of everything but permissions."""
        return {
            logical_id: self.known[logical_id]
            for logical_id, resource in self.resources.items()
            if not resource["Type"].startswith(("AWS::IAM::", "AWS::Lambda::Permission"))
        }


def _function(
    logical_id: str, properties: Json, name: str, process_environment: dict[str, str], retries: int
) -> Function:
    memory = int(properties.get("MemorySize", 128))
    variables = {key: str(value) for key, value in properties.get("Environment", {}).get("Variables", {}).items()}
    environment = (
        process_environment
        | {
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        }
        | variables
    )
    return Function(
        logical_id=logical_id,
        name=name,
        handler=properties["ImageConfig"]["Command"][0] if _is_image(properties) else properties["Handler"],
        timeout=int(properties.get("Timeout", 3)),
        memory=memory,
        environment=tuple(sorted(environment.items())),
        dead_letter_arn=properties.get("DeadLetterConfig", {}).get("TargetArn"),
        retries=retries,
    )


def _is_image(properties: Json) -> bool:
    return bool(properties.get("PackageType") == "Image")


def resolve(configuration: Configuration, given: dict[str, str], made: dict[str, str] | None = None) -> Deployment:
    """Transform and resolve `template.yaml`; `given` are parameters by name, `made` the ARNs of its
    secrets where they exist already.
    """
    transformed = template.transform(configuration.root / "template.yaml", configuration.root / ".stowage" / "cache")
    values = template.parameter_values(transformed, given)
    transformed = template.replace_markers(transformed, values)
    conditions = Resolver(values | _pseudo_parameters(), transformed.get("Conditions", {}))
    declared = {
        logical_id: resource
        for logical_id, resource in transformed["Resources"].items()
        if conditions.holds(resource.get("Condition"))
    }
    secrets, arns = _make_secrets(configuration, declared) if made is None else ({}, made)
    known = identities(declared, configuration, arns)
    resolver = Resolver(values | known, transformed.get("Conditions", {}), transformed.get("Mappings"))
    resources = template.resources(transformed | {"Resources": declared}, resolver)
    # The API's public address, which the template builds from its id, is ours.
    public = f"https://{known.get('Api', 'local')}.execute-api.{REGION}.amazonaws.com"
    text = json.dumps(resources).replace(public, configuration.api_url)
    # And the buckets' are paths of one.
    resources = json.loads(_BUCKET_ORIGIN.sub(configuration.aws_endpoint_url, text))
    return Deployment(resources, known, secrets)


def _pseudo_parameters() -> dict[str, str]:
    return {"AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::Region": REGION, "AWS::StackName": STACK}


def _make_secrets(
    configuration: Configuration, declared: dict[str, dict[str, Json]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Values and ARNs of the template's secrets, which exist in moto then."""
    kept = kept_secrets.KeptSecrets(configuration.home / "secrets.json")
    values, arns = {}, {}
    for logical_id, resource in declared.items():
        if resource["Type"] == "AWS::SecretsManager::Secret":
            values[logical_id] = kept.value(logical_id, resource["Properties"])
            arns[logical_id] = create_secret(physical_name(logical_id, resource["Type"]), values[logical_id])
    return values, arns
