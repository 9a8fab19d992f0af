"""Each role may do what its code calls, and no more than that: read from the template and from the code."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatchcase

import pytest

from stowage.entry.http import MOUNTS
from tests.structure.deployed_template import (
    VARIANTS,
    Resources,
    Statement,
    deployed,
    deployed_with,
    function_by_module,
    of_type,
    paths_of,
    role_of,
    statements,
    transformed,
)
from tests.structure.effective_permissions import (
    AWS_POLICIES,
    FROZEN,
    VARIANTS_OF_PERMISSIONS,
    listed,
    permissions_of,
)
from tests.structure.effective_permissions import roles as roles_of
from tests.structure.reachable_code import Operation, reach
from tests.structure.repository import PACKAGE

HANDLERS = sorted(function_by_module())
WORKER = "worker.__main__"

_OBJECTS = ("<ExportsBucket.Arn>/*", "<BackupsBucket.Arn>/*", "<UploadsBucket.Arn>/any/imports/any/file.csv")
_BUCKETS = ("<ExportsBucket.Arn>", "<BackupsBucket.Arn>", "<UploadsBucket.Arn>")

ACTIONS: dict[Operation, tuple[str, ...]] = {
    ("dynamodb", "get_item"): ("dynamodb:GetItem",),
    ("dynamodb", "query"): ("dynamodb:Query",),
    ("dynamodb", "put_item"): ("dynamodb:PutItem",),
    ("dynamodb", "update_item"): ("dynamodb:UpdateItem",),
    ("dynamodb", "delete_item"): ("dynamodb:DeleteItem",),
    ("dynamodb", "transact_write_items"): ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"),
    # Who may not list a bucket gets 403 instead of 404 for a missing object, and the code goes by the 404
    # (S3 API reference, HeadObject and GetObject, "Permissions").
    ("s3", "head_object"): ("s3:GetObject", "s3:ListBucket"),
    ("s3", "get_object"): ("s3:GetObject", "s3:ListBucket"),
    ("s3", "sign:get_object"): ("s3:GetObject",),
    ("s3", "sign:head_object"): ("s3:GetObject",),
    ("lambda_client", "invoke"): ("lambda:InvokeFunction",),
    ("s3", "list_objects_v2"): ("s3:ListBucket",),
    ("s3", "delete_object"): ("s3:DeleteObject",),
    ("s3", "list_object_versions"): ("s3:ListBucketVersions",),
    ("s3", "delete_objects"): ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    ("s3", "list_multipart_uploads"): ("s3:ListBucketMultipartUploads",),
    ("s3", "abort_multipart_upload"): ("s3:AbortMultipartUpload",),
    ("s3", "create_multipart_upload"): ("s3:PutObject",),
    ("s3", "upload_part"): ("s3:PutObject",),
    ("s3", "complete_multipart_upload"): ("s3:PutObject",),
    ("s3", "put_object"): ("s3:PutObject",),
    ("s3", "generate_presigned_post"): ("s3:PutObject",),
    ("sqs", "send_message"): ("sqs:SendMessage",),
    ("sesv2", "send_email"): ("ses:SendEmail",),
    ("stepfunctions", "start_execution"): ("states:StartExecution",),
    ("stepfunctions", "stop_execution"): ("states:StopExecution",),
    ("stepfunctions", "describe_execution"): ("states:DescribeExecution",),
    ("secretsmanager", "get_secret_value"): ("secretsmanager:GetSecretValue",),
}
"""Which permissions a call needs (AWS service authorization reference)."""

RESOURCES = {
    "dynamodb": ("<Table.Arn>",),
    "states": ("<RunStateMachine>",),
}
QUEUES = {
    "stowage.aws.queues.wake_later": "WakeQueue",
    "stowage.aws.queues.give_up": "DeadLetterQueue",
    "stowage.aws.queues.tell_ended": "EndedQueue",
}
"""Which queue each of these sends to."""
EXECUTIONS = ("states:StopExecution", "states:DescribeExecution")
EXECUTION = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:<RunStateMachine.Name>:"

ONLY_IN_SOME_DEPLOYMENTS = {
    # What reads a secret, and when it does.
    "stowage.postgres.session.connection._passwords": "passwords from a secret",
    "stowage.entry.upstream._api_key": "a backend",
    "stowage.notices.channels.deployments_bot": "notices",
}

DATABASE_ROLES = set(re.findall(r"\bstowage_\w+", (PACKAGE / "postgres/schema/roles.sql").read_text()))
"""The roles that Stowage's code and its master may log in as."""

CHANGES_OF_THE_TABLE = ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
MAY_WRITE_KEYS = "CopyKeysFunction"


def needed_actions(module: str, cut: Iterable[str] = ()) -> set[str]:
    """The permissions that a module's code needs."""
    found = reach(module, frozenset(cut))
    actions = {action for operation in found.operations for action in ACTIONS[operation]}
    if "stowage.aws.database_tokens.login_token" in found.definitions:
        actions.add("rds-db:connect")
    return actions


def buckets_of(module: str) -> set[int]:
    """Which buckets a module's objects lie in: its folder's own, or the two of the artifacts."""
    return {"exports": {0}, "backups": {1}, "imports": {2}}.get(module.split(".", maxsplit=1)[0], {0, 1})


def resources_of(action: str, module: str) -> list[str | None]:
    """What an action is done to by that module; None where any resource will do."""
    service, _, verb = action.partition(":")
    if service == "s3":
        arns = _BUCKETS if verb.startswith("List") else _OBJECTS
        return [arns[place] for place in sorted(buckets_of(module))]
    if service == "sqs":
        reached = reach(module).definitions
        queues = [queue for definition, queue in QUEUES.items() if definition in reached]
        return [f"<{queue}.Arn>" for queue in queues]
    if action in EXECUTIONS:
        return [EXECUTION + "any"]
    return list(RESOURCES.get(service, (None,)))


def allows(given: Iterable[Statement], action: str, resource: str | None) -> bool:
    """Whether a statement allows an action on a resource, or on any."""
    return any(
        statement.effect == "Allow"
        and any(fnmatchcase(action, pattern) for pattern in statement.actions)
        and (resource is None or any(_covers(pattern, resource) for pattern in statement.resources))
        for statement in given
    )


def _covers(pattern: str, resource: str) -> bool:
    # A bucket's ARN may be written out: SAM's own policies do.
    for bucket in ("ExportsBucket", "BackupsBucket", "UploadsBucket"):
        pattern = pattern.replace(f"arn:<AWS::Partition>:s3:::<{bucket}>", f"<{bucket}.Arn>")
        pattern = pattern.replace(f"arn:aws:s3:::<{bucket}>", f"<{bucket}.Arn>")
    return fnmatchcase(resource, pattern)


def roles(found: Resources) -> dict[str, str]:
    """The role of every module that is deployed, the worker's included."""
    [task] = of_type(found, "AWS::ECS::TaskDefinition").values()
    worker = {WORKER: str(task["TaskRoleArn"]).removeprefix("<").removesuffix(".Arn>")}
    return {module: role_of(found, name) for module, name in function_by_module().items()} | worker


def test_nothing_may_do_more_or_less_than_the_list_says() -> None:
    """The list changes with the code that it is for: its difference is what a reader of the change looks at."""
    assert listed() == FROZEN.read_text(), "python -m tests.structure.effective_permissions writes the list anew"


@pytest.mark.parametrize("module", [*HANDLERS, WORKER])
def test_a_role_may_do_whatever_its_code_calls(module: str) -> None:
    variant = "passwords from a secret" if reach(module).speaks_sql else "notices"
    found = deployed(variant)
    given = statements(found, roles(found)[module])
    upstream = frozenset({"stowage.entry.upstream._api_key"})
    missing = [
        f"{action} on {resource or 'anything'}"
        for action in sorted(needed_actions(module, upstream) - {"rds-db:connect"})
        for resource in resources_of(action, module)
        if not allows(given, action, resource)
    ]
    assert not missing


def test_both_lanes_may_read_what_was_uploaded_and_nobody_may_change_it_there() -> None:
    found = deployed()
    upload = _OBJECTS[2]
    reading = {
        module for module, role in roles(found).items() if allows(statements(found, role), "s3:GetObject", upload)
    }
    assert reading == {WORKER, "steps.run_inline", "imports.start_file_import"}
    for module, role in roles(found).items():
        given = statements(found, role)
        assert not allows(given, "s3:DeleteObject", upload), module
        assert allows(given, "s3:PutObject", upload) == (module == "imports.create_file_import")


def test_each_role_that_speaks_sql_may_log_in_with_iam() -> None:
    found = deployed()
    speaking = [module for module in [*HANDLERS, WORKER] if reach(module).speaks_sql]
    logging_in = [m for m in speaking if allows(statements(found, roles(found)[m]), "rds-db:connect", None)]
    assert logging_in == speaking != []


@pytest.mark.parametrize("module", [*HANDLERS, WORKER])
def test_a_role_may_use_the_owners_kms_key_where_its_code_reads_or_writes_objects(module: str) -> None:
    found = deployed("keys of the owner")
    given = statements(found, roles(found)[module])
    needed = {
        key_action
        for action in needed_actions(module)
        for key_action in {
            "s3:GetObject": ("kms:Decrypt",),
            "s3:PutObject": ("kms:Decrypt", "kms:GenerateDataKey"),
        }.get(action, ())
    }
    key = VARIANTS["keys of the owner"]["KmsKeyArn"]
    assert not [action for action in sorted(needed) if not allows(given, action, key)]


def test_a_role_that_forwards_to_a_backend_may_read_the_key_for_it() -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:backend-AbCdEf"
    found = deployed_with(BackendApiUrl="https://backend.example.com", BackendApiKeySecretArn=arn)
    forwarding = {
        module
        for module in HANDLERS
        for path in paths_of(found, function_by_module()[module])
        if path.startswith(MOUNTS)
    }
    assert forwarding
    may_read = {
        module
        for module, role in roles(found).items()
        if allows(statements(found, role), "secretsmanager:GetSecretValue", arn)
    }
    assert may_read == forwarding


@pytest.mark.parametrize("module", [*HANDLERS, WORKER])
def test_a_role_logs_in_to_the_database_only_as_its_code_does(module: str) -> None:
    """As the schemas' owner only what migrates them, as the purge only what deletes for good, to restore only the
    worker and what drops what was staged.
    """
    found = deployed()
    given = statements(found, roles(found)[module])
    database = "arn:<AWS::Partition>:rds-db:<AWS::Region>:<AWS::AccountId>:dbuser:db-1/"
    allowed = {role for role in DATABASE_ROLES if allows(given, "rds-db:connect", database + role)}
    if not reach(module).speaks_sql:
        assert allowed == set()
    elif "stowage.postgres.schema.migrations.migrate" in reach(module).definitions:
        assert allowed == {"stowage_app", "stowage_dump", "stowage_owner"}
    elif any(name.startswith("stowage.postgres.trash.purge.") for name in reach(module).definitions):
        assert allowed == {"stowage_app", "stowage_dump", "stowage_purge"}
    elif module == WORKER or "stowage.compares.dropping.drop_what_is_gone" in reach(module).definitions:
        assert allowed == {"stowage_app", "stowage_dump", "stowage_restore"}
    else:
        assert allowed == {"stowage_app", "stowage_dump"}


def test_the_function_that_copies_keys_writes_nothing_else() -> None:
    found = deployed()
    writing = [
        statement
        for statement in statements(found, roles(found)["triggers.copy_keys"])
        if any(action.startswith("dynamodb:") for action in statement.actions)
    ]
    assert [statement.actions for statement in writing] == [("dynamodb:PutItem",)]
    assert writing[0].condition == repr({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["KEY#*"]}})


@pytest.mark.parametrize("variant", [*VARIANTS, "no login of its own"])
def test_no_policy_is_empty(variant: str) -> None:
    """IAM refuses a policy without a statement."""
    found = deployed(variant) if variant in VARIANTS else deployed_with(DatabaseLogin="none")
    documents = [properties["PolicyDocument"] for properties in of_type(found, "AWS::IAM::ManagedPolicy").values()]
    documents += [
        policy["PolicyDocument"]
        for properties in of_type(found, "AWS::IAM::Role").values()
        for policy in properties.get("Policies", [])
    ]
    assert all(document["Statement"] for document in documents)


def test_every_action_on_the_table_is_one_that_some_code_calls() -> None:
    found = deployed()
    given = {
        action
        for role in roles(found).values()
        for statement in statements(found, role)
        for action in statement.actions
        if action.startswith("dynamodb:")
    }
    assert given <= {action for actions in ACTIONS.values() for action in actions}


@pytest.mark.parametrize("module", [*HANDLERS, WORKER])
def test_a_role_may_change_the_table_only_where_its_code_does(module: str) -> None:
    found = deployed()
    given = statements(found, roles(found)[module])
    allowed = {action for action in CHANGES_OF_THE_TABLE if allows(given, action, "<Table.Arn>")}
    assert not allowed or needed_actions(module) & set(CHANGES_OF_THE_TABLE), f"{module} never writes: {allowed}"


@pytest.mark.parametrize("module", [*HANDLERS, WORKER])
@pytest.mark.parametrize("action", ["s3:PutObject", "s3:DeleteObject"])
def test_a_role_may_change_objects_only_as_its_code_does(module: str, action: str) -> None:
    found = deployed()
    assert not allows(statements(found, roles(found)[module]), action, None) or action in needed_actions(module)


@pytest.mark.parametrize("module", [*HANDLERS, WORKER])
def test_a_role_reaches_no_service_that_its_code_does_not(module: str) -> None:
    services = {"s3", "sqs", "states", "secretsmanager", "rds-db"}
    found = deployed()
    given = statements(found, roles(found)[module])
    to_dead_letters = "DeadLetterQueue"
    allowed = {
        action.partition(":")[0]
        for statement in given
        if statement.effect == "Allow" and not any(to_dead_letters in name for name in statement.resources)
        for action in statement.actions
    }
    needed = {action.partition(":")[0] for action in needed_actions(module)}
    assert not (allowed & services) - needed


@pytest.mark.parametrize("module", [*HANDLERS, WORKER])
def test_a_role_may_start_and_stop_executions_only_where_its_code_does(module: str) -> None:
    found = deployed()
    given = statements(found, roles(found)[module])
    starting_and_stopping = ("states:StartExecution", *EXECUTIONS)
    allowed = {action for action in starting_and_stopping if allows(given, action, None)}
    assert allowed <= needed_actions(module)


LAST_USE_OF_API_KEYS = repr(
    {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["APIKEY#*"]},
        "ForAllValues:StringEquals": {"dynamodb:Attributes": ["pk", "sk", "hash", "last_used_at"]},
    }
)
"""Under which whoever signs somebody in may write: the items of API keys, which `KEY#*` does not match."""


@pytest.mark.parametrize("module", [*HANDLERS, WORKER])
def test_only_the_function_that_copies_keys_may_write_them(module: str) -> None:
    found = deployed()
    given = [each for each in statements(found, roles(found)[module]) if each.condition != LAST_USE_OF_API_KEYS]
    if not any(allows(given, action, "<Table.Arn>") for action in CHANGES_OF_THE_TABLE):
        return
    denied = {
        action
        for statement in given
        if statement.effect == "Deny"
        and "dynamodb:LeadingKeys" in statement.condition
        and "KEY#*" in statement.condition
        and "ForAnyValue" in statement.condition
        and "<Table.Arn>" in statement.resources
        for action in statement.actions
    }
    writes_keys = "stowage.aws.keys.write_key" in reach(module).definitions
    assert writes_keys == (function_by_module().get(module) == MAY_WRITE_KEYS)
    if writes_keys:
        assert not denied
    else:
        assert denied >= set(CHANGES_OF_THE_TABLE)


@pytest.mark.parametrize("variant", [*VARIANTS, "passwords from a secret that was not named"])
def test_nothing_is_allowed_on_everything(variant: str) -> None:
    found = deployed(variant) if variant in VARIANTS else deployed_with(DatabaseLogin="secret")
    wide = [
        f"{role}: {statement.actions} on {resource}"
        for role in of_type(found, "AWS::IAM::Role")
        for statement in statements(found, role)
        if statement.effect == "Allow"
        for resource in statement.resources
        if set(resource) == {"*"} or any(action.endswith(":*") or action == "*" for action in statement.actions)
    ]
    assert not wide


def test_a_role_has_only_those_policies_of_aws_that_are_listed_with_their_reason() -> None:
    found = deployed()
    given = {
        arn.partition(":policy/")[2]
        for properties in of_type(found, "AWS::IAM::Role").values()
        for arn in properties.get("ManagedPolicyArns", [])
        if ":policy/" in arn
    }
    assert given <= set(AWS_POLICIES)


def test_who_may_do_the_same_shares_a_role() -> None:
    by_variant = [deployed_with(**given) for given in VARIANTS_OF_PERMISSIONS.values()]
    twins: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for role in roles_of(by_variant[0]).values():
        trusted = repr(by_variant[0][role]["Properties"]["AssumeRolePolicyDocument"])
        twins[trusted, *(frozenset(permissions_of(found, role)) for found in by_variant)].add(role)
    assert not [sorted(names) for names in twins.values() if len(names) > 1]


def test_every_managed_policy_is_attached_somewhere() -> None:
    found = deployed()
    attached = {
        arn
        for properties in of_type(found, "AWS::IAM::Role").values()
        for arn in properties.get("ManagedPolicyArns", [])
    }
    assert {f"<{name}>" for name in of_type(found, "AWS::IAM::ManagedPolicy")} <= attached


def test_the_state_machine_may_run_exactly_what_its_states_call() -> None:
    found = deployed()
    [machine] = of_type(found, "AWS::StepFunctions::StateMachine").values()
    role = machine["RoleArn"].removeprefix("<").removesuffix(".Arn>")
    calls = {value for name, value in machine["DefinitionSubstitutions"].items() if name.endswith("FunctionArn")}
    prefix = "arn:<AWS::Partition>:lambda:<AWS::Region>:<AWS::AccountId>:function:"
    expected = {
        *(("lambda:InvokeFunction", f"{prefix}<{call.removeprefix('<').removesuffix('.Arn>')}>*") for call in calls),
        ("ecs:RunTask", "<WorkerTaskDefinition>"),
        *(
            (f"ecs:{verb}", "arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:task/<Cluster>/*")
            for verb in ("StopTask", "DescribeTasks", "TagResource")
        ),
        ("iam:PassRole", "<WorkerRole.Arn>"),
        ("iam:PassRole", "<WorkerExecutionRole.Arn>"),
        # https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html, "IAM policies"
        *(
            (
                f"events:{verb}",
                "arn:<AWS::Partition>:events:<AWS::Region>:<AWS::AccountId>:rule/StepFunctionsGetEventsForECSTaskRule",
            )
            for verb in ("PutTargets", "PutRule", "DescribeRule")
        ),
    }
    given = {
        (action, resource)
        for statement in statements(found, role)
        for action in statement.actions
        for resource in statement.resources
    }
    assert given == expected


def test_the_worker_may_be_started_on_the_stacks_cluster_only() -> None:
    found = deployed()
    [machine] = of_type(found, "AWS::StepFunctions::StateMachine").values()
    role = machine["RoleArn"].removeprefix("<").removesuffix(".Arn>")
    [run] = [statement for statement in statements(found, role) if "ecs:RunTask" in statement.actions]
    assert "ecs:cluster" in run.condition
    assert "<Cluster.Arn>" in run.condition


def test_every_condition_of_the_template_takes_both_sides_in_these_tests() -> None:
    """Otherwise a statement behind an untried condition is looked at by nobody."""
    tried = {"BackendApiUrl", "BackendApiKeySecretArn", *(name for variant in VARIANTS.values() for name in variant)}
    conditions = json.dumps(transformed()["Conditions"])
    decisive = {name for name in transformed()["Parameters"] if f'"{name}"' in conditions or f":{name}@" in conditions}
    assert decisive <= tried
