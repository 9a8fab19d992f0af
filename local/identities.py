"""What `Ref` and `Fn::GetAtt` give for each resource: all names are ours to choose, so all are known beforehand."""

from typing import Any

from local.configuration import ACCOUNT, REGION, Configuration
from local.console import StartError

STACK = "stowage"

PLAYED_BY_MOTO = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::ECS::Cluster": "ClusterName",
    "AWS::ECS::TaskDefinition": "Family",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}
"""Types that `local/resources.py` creates in moto, with the property that names them."""

PLAYED_HERE = {
    "AWS::ApiGatewayV2::Api": "local/gateway.py",
    "AWS::ApiGatewayV2::Stage": "local/gateway.py",
    "AWS::Events::Rule": "local/event_bus.py",
    "AWS::Lambda::EventInvokeConfig": "local/deployment.py",
    "AWS::Lambda::EventSourceMapping": "local/streams.py, local/queues.py",
    "AWS::Lambda::Function": "local/functions.py",
    "AWS::Scheduler::Schedule": "local/clock.py",
    "AWS::SecretsManager::Secret": "local/kept_secrets.py",
}
"""Types that this package plays itself, and where."""

WITHOUT_EFFECT = {
    "AWS::CloudWatch::Alarm": "nobody to call",
    "AWS::IAM::ManagedPolicy": "moto enforces no policy",
    "AWS::IAM::Policy": "moto enforces no policy",
    "AWS::IAM::Role": "moto enforces no policy",
    "AWS::Lambda::LayerVersion": "the folder itself is on the path",
    "AWS::Lambda::Permission": "moto enforces no policy",
    "AWS::Logs::LogGroup": "logs are files in the home's folder logs",
    "AWS::S3::BucketPolicy": "moto enforces no policy",
    "AWS::SNS::Subscription": "nobody to call",
    "AWS::SNS::TopicPolicy": "moto enforces no policy",
    "AWS::SQS::QueuePolicy": "moto enforces no policy",
}
"""Types of which only the name counts here, and why."""


def physical_name(logical_id: str, kind: str) -> str:
    """The name of a resource whose template gives none; a bucket's is in lower case."""
    name = f"{STACK}-{logical_id}"
    return name.lower() if kind == "AWS::S3::Bucket" else name


def name_of(logical_id: str, resource: dict[str, Any]) -> str:
    """The name of a resource, its template's own where that gives one."""
    given = resource.get("Properties", {}).get(PLAYED_BY_MOTO.get(resource["Type"], ""))
    return given if isinstance(given, str) else physical_name(logical_id, resource["Type"])


def identities(
    resources: dict[str, dict[str, Any]], configuration: Configuration, secrets: dict[str, str]
) -> dict[str, str]:
    """Every value by name or `name.attribute`, pseudo-parameters among them; `secrets` gives each secret's ARN."""
    known = {
        "AWS::AccountId": ACCOUNT,
        "AWS::Partition": "aws",
        "AWS::Region": REGION,
        "AWS::StackName": STACK,
        "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/local",
        "AWS::URLSuffix": "amazonaws.com",
    }
    for logical_id, resource in resources.items():
        kind = resource["Type"]
        if kind.startswith("Custom::") or kind == "AWS::CloudFormation::CustomResource":
            known[logical_id] = f"{STACK}-{logical_id}"
            continue
        if not any(kind in types for types in (PLAYED_BY_MOTO, PLAYED_HERE, WITHOUT_EFFECT)):
            raise StartError(f"The local stack does not know {kind} ({logical_id}); see local/identities.py")
        name = name_of(logical_id, resource)
        for attribute, value in _attributes(kind, name, configuration, secrets.get(logical_id, "")).items():
            known[f"{logical_id}.{attribute}" if attribute else logical_id] = value
    return known


def _attributes(kind: str, name: str, configuration: Configuration, secret_arn: str) -> dict[str, str]:
    """What a resource's attributes are; the empty one is what `Ref` gives."""

    def arn(service: str, rest: str) -> str:
        return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"

    match kind:
        case "AWS::DynamoDB::Table":
            table = arn("dynamodb", f"table/{name}")
            return {"": name, "Arn": table, "StreamArn": f"{table}/stream/local"}
        case "AWS::S3::Bucket":
            return {
                "": name,
                "Arn": f"arn:aws:s3:::{name}",
                "DomainName": f"{name}.s3.amazonaws.com",
                "RegionalDomainName": f"{name}.s3.{REGION}.amazonaws.com",
            }
        case "AWS::SQS::Queue":
            url = f"{configuration.aws_endpoint_url}/{ACCOUNT}/{name}"
            return {"": url, "Arn": arn("sqs", name), "QueueName": name, "QueueUrl": url}
        case "AWS::SNS::Topic":
            return {"": arn("sns", name), "TopicName": name, "TopicArn": arn("sns", name)}
        case "AWS::ECS::Cluster":
            return {"": name, "Arn": arn("ecs", f"cluster/{name}")}
        case "AWS::ECS::TaskDefinition":
            return {"": arn("ecs", f"task-definition/{name}:1")}
        case "AWS::StepFunctions::StateMachine":
            return {
                "": arn("states", f"stateMachine:{name}"),
                "Arn": arn("states", f"stateMachine:{name}"),
                "Name": name,
            }
        case "AWS::Lambda::Function":
            return {"": name, "Arn": arn("lambda", f"function:{name}")}
        case "AWS::IAM::Role" | "AWS::IAM::ManagedPolicy":
            noun = "role" if kind == "AWS::IAM::Role" else "policy"
            role = f"arn:aws:iam::{ACCOUNT}:{noun}/{name}"
            return {"": name if noun == "role" else role, "Arn": role, "PolicyArn": role, "RoleId": name}
        case "AWS::SecretsManager::Secret":
            return {"": secret_arn, "Id": secret_arn}
        case "AWS::Logs::LogGroup":
            return {"": name, "Arn": arn("logs", f"log-group:{name}:*")}
        case "AWS::ApiGatewayV2::Api":
            return {"": "local", "ApiEndpoint": configuration.api_url}
    return {"": name, "Arn": arn("local", name)}
