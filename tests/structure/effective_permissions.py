"""What everything of the template that runs may do, whatever roles and policies say it.

`python -m tests.structure.effective_permissions` writes the list that the tests compare with: run it when a function
is new or may do something new, and read the difference.
"""

from collections import defaultdict
from pathlib import Path

from tests.structure.deployed_template import (
    VARIANTS,
    Resources,
    deployed_with,
    function_by_module,
    of_type,
    role_of,
    statements,
)

FROZEN = Path(__file__).with_name("effective_permissions.txt")

VARIANTS_OF_PERMISSIONS = {
    **VARIANTS,
    "a backend": {
        "BackendApiUrl": "https://backend.example.com",
        "BackendApiKeySecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:backend-AbCdEf",
    },
}

_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
_NETWORK = (
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
)  # fmt: skip
_STREAM = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams")
_QUEUE = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
_IMAGE = (
    "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer",
)  # fmt: skip
AWS_POLICIES = {
    "service-role/AWSLambdaBasicExecutionRole": _LOGS,
    "service-role/AWSLambdaVPCAccessExecutionRole": _LOGS + _NETWORK,
    "service-role/AWSLambdaDynamoDBExecutionRole": _LOGS + _STREAM,
    "service-role/AWSLambdaSQSQueueExecutionRole": _LOGS + _QUEUE,
    "service-role/AmazonECSTaskExecutionRolePolicy": _IMAGE + _LOGS[1:],
}
"""AWS's own policies that a role may have, with their actions, each on any resource: logs; network
interfaces, for which EC2 knows no resource; the table's stream; the wake queue; the worker's image.
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
"""

type Permission = tuple[str, str, str, str]
"""`Allow` or `Deny`, action, resource, condition."""


def roles(found: Resources) -> dict[str, str]:
    """The role of everything that runs: handlers by their modules, the rest by what it is."""
    of_modules = {module: role_of(found, name) for module, name in function_by_module().items()}
    [task] = of_type(found, "AWS::ECS::TaskDefinition").values()
    [machine] = of_type(found, "AWS::StepFunctions::StateMachine").values()
    schedules = of_type(found, "AWS::Scheduler::Schedule").values()
    others = {
        "the worker": task["TaskRoleArn"],
        "the start of the worker": task["ExecutionRoleArn"],
        "the state machine": machine["RoleArn"],
        **{f"the schedule of {each['Target']['Arn'][1:-5]}": each["Target"]["RoleArn"] for each in schedules},
    }
    return of_modules | {name: arn.removeprefix("<").removesuffix(".Arn>") for name, arn in others.items()}


def permissions_of(found: Resources, role: str) -> set[Permission]:
    """What a role may do, and what it may not do of that: a Deny without an Allow of the same is left out."""
    given = {
        (statement.effect, action, resource, statement.condition)
        for statement in statements(found, role)
        for action in statement.actions
        for resource in statement.resources
    }
    for arn in found[role]["Properties"].get("ManagedPolicyArns", []):
        if ":policy/" in arn:
            given |= {("Allow", action, "*", "") for action in AWS_POLICIES[arn.partition(":policy/")[2]]}
    allowed = {(action, resource) for effect, action, resource, _ in given if effect == "Allow"}
    return {permission for permission in given if permission[0] == "Allow" or permission[1:3] in allowed}


def listed() -> str:
    """Everything that runs, grouped by what it may do; `if …` names the variants of the deployment where it may."""
    by_variant = {variant: deployed_with(**given) for variant, given in VARIANTS_OF_PERMISSIONS.items()}
    groups: dict[str, list[str]] = defaultdict(list)
    for name in roles(by_variant["defaults"]):
        variants: dict[Permission, list[str]] = defaultdict(list)
        for variant, found in by_variant.items():
            for permission in permissions_of(found, roles(found)[name]):
                variants[permission].append(variant)
        groups[_lines(variants)].append(name)
    return "\n".join(
        "\n".join(sorted(names)) + "\n" + lines for lines, names in sorted(groups.items(), key=lambda it: min(it[1]))
    )


def _lines(variants: dict[Permission, list[str]]) -> str:
    rows: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (effect, action, resource, condition), where in variants.items():
        row = f"on {resource}" + (f" where {condition}" if condition else "")
        if len(where) < len(VARIANTS_OF_PERMISSIONS):
            row += f" if {', '.join(where)}"
        rows[effect, row].add(action)
    return "".join(f"    {effect} {' '.join(sorted(rows[effect, row]))} {row}\n" for effect, row in sorted(rows))


if __name__ == "__main__":
    FROZEN.write_text(listed())
