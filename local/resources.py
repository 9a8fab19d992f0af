"""Tables, buckets, queues, topics, cluster, task definition and state machine, made by the same API calls as anywhere.

moto has a CloudFormation of its own, but it leaves out what we rely on: time to live, versioning, lifecycle rules,
substitutions in state machines; and it imports every service that moto knows, which takes a second of each start.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import boto3

from local.configuration import ACCESS_KEY, ACCOUNT, REGION, SECRET_KEY
from local.deployment import Deployment
from local.known_properties import Known

type Json = Any
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


_NOT_ENCRYPTED = "nothing is encrypted at rest on this machine"
_KEYS: list[Known] = [{"AttributeName": ..., "KeyType": ...}]
_INDEX: dict[str, Known] = {
    "IndexName": ...,
    "KeySchema": _KEYS,
    "Projection": {"ProjectionType": ..., "NonKeyAttributes": ...},
}
_THROUGHPUT: dict[str, Known] = {"ReadCapacityUnits": ..., "WriteCapacityUnits": ...}

PROPERTIES: dict[str, Known] = {
    "AWS::DynamoDB::Table": {
        "AttributeDefinitions": [{"AttributeName": ..., "AttributeType": ...}],
        "BillingMode": ...,
        "GlobalSecondaryIndexes": [_INDEX | {"ProvisionedThroughput": _THROUGHPUT}],
        "KeySchema": _KEYS,
        "LocalSecondaryIndexes": [_INDEX],
        "PointInTimeRecoverySpecification": "the local table is kept by snapshots (local/snapshot.py)",
        "ProvisionedThroughput": _THROUGHPUT,
        "SSESpecification": _NOT_ENCRYPTED,
        "StreamSpecification": {"StreamViewType": ...},
        "TableName": ...,
        "TimeToLiveSpecification": {"AttributeName": ..., "Enabled": ...},
    },
    "AWS::S3::Bucket": {
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [
                {
                    "BucketKeyEnabled": ...,
                    "ServerSideEncryptionByDefault": {"SSEAlgorithm": ..., "KMSMasterKeyID": ...},
                }
            ]
        },
        "BucketName": ...,
        "CorsConfiguration": {
            "CorsRules": [
                {
                    "AllowedHeaders": ...,
                    "AllowedMethods": ...,
                    "AllowedOrigins": ...,
                    "ExposedHeaders": ...,
                    "Id": ...,
                    "MaxAge": ...,
                }
            ]
        },
        "LifecycleConfiguration": {
            "Rules": [
                {
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ...},
                    "ExpirationInDays": ...,
                    "ExpiredObjectDeleteMarker": ...,
                    "Id": ...,
                    "NoncurrentVersionExpiration": {"NoncurrentDays": ..., "NewerNoncurrentVersions": ...},
                    "Prefix": ...,
                    "Status": ...,
                }
            ]
        },
        "ObjectLockEnabled": ...,
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "no object of the local store has an ACL"}]},
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": ...,
            "BlockPublicPolicy": ...,
            "IgnorePublicAcls": ...,
            "RestrictPublicBuckets": ...,
        },
        "VersioningConfiguration": {"Status": ...},
    },
    "AWS::SQS::Queue": {
        "DelaySeconds": ...,
        "MaximumMessageSize": ...,
        "MessageRetentionPeriod": ...,
        "QueueName": ...,
        "ReceiveMessageWaitTimeSeconds": ...,
        "RedrivePolicy": {"deadLetterTargetArn": ..., "maxReceiveCount": ...},
        "SqsManagedSseEnabled": ...,
        "Tags": "nothing reads them",
        "VisibilityTimeout": ...,
    },
    "AWS::SNS::Topic": {
        "Subscription": [{"Protocol": "no mail leaves this machine", "Endpoint": "no mail leaves this machine"}],
        "TopicName": ...,
    },
    "AWS::ECS::Cluster": {"ClusterName": ...},
    "AWS::ECS::TaskDefinition": {
        "ContainerDefinitions": [
            {
                "Environment": [{"Name": ..., "Value": ...}],
                "Essential": ...,
                "Image": ...,
                "LogConfiguration": {"LogDriver": ..., "Options": ...},
                "Name": ...,
                "ReadonlyRootFilesystem": ...,
                "Secrets": [{"Name": ..., "ValueFrom": ...}],
                "StopTimeout": ...,
            }
        ],
        "Cpu": ...,
        "ExecutionRoleArn": ...,
        "Family": ...,
        "Memory": ...,
        "NetworkMode": ...,
        "RequiresCompatibilities": ...,
        "RuntimePlatform": {"CpuArchitecture": ..., "OperatingSystemFamily": ...},
        "Tags": "nothing reads them",
        "TaskRoleArn": ...,
    },
    "AWS::Serverless::StateMachine": {
        "DefinitionSubstitutions": ...,
        "DefinitionUri": ...,
        "Name": ...,
        "Policies": "the local stack checks no permissions; tests/structure does",
        "Type": "moto plays every machine as STANDARD",
    },
}
"""What of each type is used here, and what is not."""


def create(deployment: Deployment, endpoint_url: str) -> None:
    """Create everything that moto plays."""
    session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)

    def client(service: str) -> Any:
        return session.client(service, endpoint_url=endpoint_url)

    creators: list[tuple[str, str, Callable[[Any, str, Json], None]]] = [
        ("AWS::DynamoDB::Table", "dynamodb", _create_table),
        ("AWS::S3::Bucket", "s3", _create_bucket),
        ("AWS::SQS::Queue", "sqs", _create_queue),
        ("AWS::SNS::Topic", "sns", _create_topic),
        ("AWS::ECS::Cluster", "ecs", _create_cluster),
        ("AWS::ECS::TaskDefinition", "ecs", _register_task_definition),
        ("AWS::StepFunctions::StateMachine", "stepfunctions", _create_state_machine),
    ]
    for kind, service, make in creators:
        declared = deployment.of_type(kind)
        if declared:
            api = client(service)
            # A queue with a redrive policy comes after the queue that it names.
            for logical_id, properties in sorted(declared.items(), key=lambda item: "RedrivePolicy" in item[1]):
                make(api, deployment.names[logical_id], properties)


def _create_table(dynamodb: Any, name: str, properties: Json) -> None:
    stream = properties.get("StreamSpecification")
    optional = {
        key: properties[key]
        for key in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes", "ProvisionedThroughput")
        if key in properties
    }
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=properties["AttributeDefinitions"],
        KeySchema=properties["KeySchema"],
        BillingMode=properties.get("BillingMode", "PROVISIONED"),
        StreamSpecification={"StreamEnabled": True, **stream} if stream else {"StreamEnabled": False},
        **optional,
    )
    if "TimeToLiveSpecification" in properties:
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"])


def _create_bucket(s3: Any, name: str, properties: Json) -> None:
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=bool(properties.get("ObjectLockEnabled")))
    if "PublicAccessBlockConfiguration" in properties:
        blocked = properties["PublicAccessBlockConfiguration"]
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=blocked)
    if "VersioningConfiguration" in properties:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=properties["VersioningConfiguration"])
    if "BucketEncryption" in properties:
        rules = [
            {
                "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
                "BucketKeyEnabled": rule.get("BucketKeyEnabled", False),
            }
            for rule in properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        ]
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
    if "CorsConfiguration" in properties:
        rules = [_cors_rule(rule) for rule in properties["CorsConfiguration"]["CorsRules"]]
        s3.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": rules})
    if "LifecycleConfiguration" in properties:
        rules = [_lifecycle_rule(rule) for rule in properties["LifecycleConfiguration"]["Rules"]]
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})


def _cors_rule(rule: Json) -> Json:
    """CloudFormation's form of a CORS rule as S3's."""
    names = {"Id": "ID", "ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds"}
    return {names.get(name, name): value for name, value in rule.items()}


def _lifecycle_rule(rule: Json) -> Json:
    """CloudFormation's form of a lifecycle rule as S3's."""
    expiration = {}
    if "ExpirationInDays" in rule:
        expiration["Days"] = rule["ExpirationInDays"]
    if "ExpiredObjectDeleteMarker" in rule:
        expiration["ExpiredObjectDeleteMarker"] = rule["ExpiredObjectDeleteMarker"]
    result = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if expiration:
        result["Expiration"] = expiration
    for name in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if name in rule:
            result[name] = rule[name]
    return result


def _create_queue(sqs: Any, name: str, properties: Json) -> None:
    attributes = {
        key: json.dumps(value) if isinstance(value, dict | bool) else str(value)
        for key, value in properties.items()
        if key not in ("QueueName", "Tags")
    }
    sqs.create_queue(QueueName=name, Attributes=attributes)


def _create_topic(sns: Any, name: str, properties: Json) -> None:
    sns.create_topic(Name=name)


def _create_cluster(ecs: Any, name: str, properties: Json) -> None:
    ecs.create_cluster(clusterName=name)


def _register_task_definition(ecs: Any, name: str, properties: Json) -> None:
    given = _lower(properties)
    ecs.register_task_definition(**(given | {"family": name}))


def _lower(node: Json) -> Json:
    """CloudFormation's names begin with a capital, ECS's own do not; the keys of log options are the user's."""
    if isinstance(node, dict):
        return {
            key[0].lower() + key[1:]: value if key == "Options" else _lower(value)
            for key, value in node.items()
            if key != "Tags"
        }
    return [_lower(value) for value in node] if isinstance(node, list) else node


def _create_state_machine(stepfunctions: Any, name: str, properties: Json) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    stepfunctions.create_state_machine(name=name, definition=definition(properties), roleArn=role)


def definition(properties: Json) -> str:
    """A state machine's definition with its substitutions made."""
    substitutions = {key: str(value) for key, value in properties.get("DefinitionSubstitutions", {}).items()}
    text: str = properties["DefinitionString"]
    return _PLACEHOLDER.sub(lambda match: json.dumps(substitutions[match[1]])[1:-1], text)
