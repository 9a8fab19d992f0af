"""What AWS would refuse, or let happen, and moto does not show, on the transformed template."""

import json
import re
from functools import cache
from importlib import import_module
from typing import Any

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from local.event_patterns import matches
from stowage.basics.sizes import is_deliverable
from stowage.entry.http import MOST_BODY_BYTES
from stowage.entry.upstream import MOST_ESCAPED_BYTES
from stowage.settings import Settings
from tests.structure.deployed_template import (
    TEMPLATE,
    VARIANTS,
    deployed,
    deployed_with,
    function_by_module,
    functions,
    image_function,
    of_type,
    source,
    transformed,
)
from tests.structure.reachable_code import reach
from tests.structure.repository import EVENTS, PACKAGE, ROOT, module_of, product_files, relative

MOST_RESOURCES = 400
"""CloudFormation refuses a stack of more than 500."""
BASE_RESOURCES, RESOURCES_PER_FUNCTION = 60, 2.8
"""Storage, queues and alarms; a function with the permissions of its routes and its share of a role."""
LONGEST_NAME = 64
LONGEST_STACK_NAME = "stowage-production"
SUFFIX = "-" + 12 * "x"
NAMED_BY_AWS = {
    "AWS::Lambda::Function",
    "AWS::IAM::Role",
    "AWS::IAM::ManagedPolicy",
    "AWS::Events::Rule",
    "AWS::Scheduler::Schedule",
    "AWS::StepFunctions::StateMachine",
    "AWS::SQS::Queue",
    "AWS::ECS::Cluster",
    "AWS::ECS::TaskDefinition",
}
EVENT_BYTES = 6 * 1024 * 1024
"""The most that Lambda takes as an event or gives as an answer."""
GATEWAY_SECONDS = 30
ENVIRONMENT_BYTES = 4096
QUEUE_TIMES = 6
"""How many times a function's time-out its queue hides a message (Lambda developer guide, "Using Lambda with SQS")."""

FUNCTIONS = sorted(functions())


def properties_of(kind: str, variant: str = "defaults") -> dict[str, Any]:
    """The properties of the resources of one type, which there is at least one of."""
    found = of_type(deployed(variant), kind)
    assert found, f"no {kind}"
    return found


@cache
def triggers_of(function: str) -> set[str]:
    """How a function is called: `http`, `stream`, `queue`, `asynchronous`, `deployment`, `step`."""
    found = set()
    name, arn = f"<{function}>", f"<{function}.Arn>"
    for mapping in of_type(deployed(), "AWS::Lambda::EventSourceMapping").values():
        if mapping["FunctionName"] == name:
            found.add("stream" if "Stream" in mapping["EventSourceArn"] else "queue")
    targets = [schedule["Target"]["Arn"] for schedule in properties_of("AWS::Scheduler::Schedule").values()]
    targets += [target["Arn"] for rule in properties_of("AWS::Events::Rule").values() for target in rule["Targets"]]
    if arn in targets or name in called_by_functions():
        found.add("asynchronous")
    if any(resource["Properties"].get("ServiceToken") == arn for resource in deployed().values()):
        found.add("deployment")
    [machine] = properties_of("AWS::StepFunctions::StateMachine").values()
    if arn in machine["DefinitionSubstitutions"].values():
        found.add("step")
    if any(event["Type"] == "HttpApi" for event in events_of(function).values()):
        found.add("http")
    return found


@cache
def called_by_functions() -> set[str]:
    """Functions whose name another one is told, to call it and not wait."""
    return {
        value
        for properties in functions().values()
        for name, value in properties["Environment"]["Variables"].items()
        if name.endswith("_FUNCTION")
    }


def events_of(function: str) -> dict[str, Any]:
    """A function's events, as the template writes them."""
    events: dict[str, Any] = source()["Resources"][function]["Properties"].get("Events", {})
    return events


# Sizes and names


@pytest.mark.parametrize("variant", VARIANTS)
def test_there_are_at_most_400_resources(variant: str) -> None:
    assert len(deployed(variant)) <= MOST_RESOURCES


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_further_function_adds_few_resources(variant: str) -> None:
    assert len(deployed(variant)) <= BASE_RESOURCES + RESOURCES_PER_FUNCTION * len(functions(variant))
    assert BASE_RESOURCES + RESOURCES_PER_FUNCTION * 100 <= 340


def test_names_that_aws_makes_up_are_not_cut_off() -> None:
    long = [
        name
        for name, resource in transformed()["Resources"].items()
        if resource["Type"] in NAMED_BY_AWS and len(f"{LONGEST_STACK_NAME}-{name}{SUFFIX}") > LONGEST_NAME
    ]
    assert not long


def test_no_resource_has_a_fixed_name_so_that_two_stacks_fit_in_one_account() -> None:
    names = {"Name", "FunctionName", "RoleName", "BucketName", "TableName", "QueueName", "ClusterName", "LogGroupName"}
    names |= {"StateMachineName", "ManagedPolicyName", "TopicName", "AlarmName", "LayerName", "Family"}
    layers_and_apis = {"AWS::Lambda::LayerVersion", "AWS::ApiGatewayV2::Api", "AWS::Lambda::EventSourceMapping"}
    fixed = [
        f"{name}: {key} {value!r}"
        for name, resource in deployed().items()
        if resource["Type"] not in layers_and_apis
        for key, value in resource["Properties"].items()
        if key in names and isinstance(value, str) and "<" not in value
    ]
    assert not fixed, "for a schedule: OmitName: true"


def test_a_body_that_is_taken_fits_in_lambdas_event() -> None:
    assert MOST_BODY_BYTES * 4 / 3 <= EVENT_BYTES, "API Gateway sends it as base64"


@pytest.mark.parametrize("filler", ["x", '"', "\\", "é"])
def test_an_answer_that_counts_as_deliverable_fits_in_lambdas_answer(filler: str) -> None:
    """With as many bytes of headers as the gateway takes."""
    longest = max(size for size in range(0, 7_000_000, 250_000) if is_deliverable(json.dumps({"data": filler * size})))
    body = json.dumps({"data": filler * longest})
    answer = {"statusCode": 200, "headers": {"x": "h" * 10_240}, "body": body, "isBase64Encoded": False}
    assert len(json.dumps(answer, ensure_ascii=False).encode()) <= EVENT_BYTES
    assert MOST_ESCAPED_BYTES + 10_240 <= EVENT_BYTES, "what upstream mode passes on"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_functions_environment_has_at_most_4_kilobytes(function: str) -> None:
    """What only AWS knows (an ARN, a queue's URL) is counted with 150 bytes."""
    variables = functions("keys of the owner")[function].get("Environment", {}).get("Variables", {})
    size = sum(len(name) + len(re.sub(r"<[\w.:]+>", 150 * "x", str(value))) for name, value in variables.items())
    assert size <= ENVIRONMENT_BYTES


# Functions


def test_no_function_has_an_alias_a_version_or_snapstart() -> None:
    kinds = {resource["Type"] for resource in transformed()["Resources"].values()}
    assert not kinds & {"AWS::Lambda::Alias", "AWS::Lambda::Version"}
    assert not [name for name, properties in functions().items() if "SnapStart" in properties]
    assert "AutoPublishAlias" not in TEMPLATE.read_text()


def test_no_function_reserves_or_provisions_concurrency() -> None:
    text = json.dumps(transformed())
    assert "ReservedConcurrentExecutions" not in text
    assert "ProvisionedConcurrency" not in text


def test_permissions_are_given_function_by_function() -> None:
    assert "Policies" not in source()["Globals"]["Function"]
    assert "Role" not in source()["Globals"]["Function"]


def test_all_functions_log_to_one_group_as_json() -> None:
    assert {
        json.dumps(properties["LoggingConfig"], sort_keys=True)
        for properties in (*functions().values(), image_function())
    } == {json.dumps({"LogFormat": "JSON", "LogGroup": "<FunctionsLogGroup>"})}


def test_every_log_group_forgets() -> None:
    assert all(int(group["RetentionInDays"]) > 0 for group in properties_of("AWS::Logs::LogGroup").values())


def test_the_workers_log_group_is_the_stacks_own() -> None:
    [task] = properties_of("AWS::ECS::TaskDefinition").values()
    [container] = task["ContainerDefinitions"]
    assert container["LogConfiguration"]["Options"]["awslogs-group"] == "<WorkerLogGroup>"


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if "http" in triggers_of(name)])
def test_an_http_function_ends_before_the_gateway_gives_up(function: str) -> None:
    assert functions()[function]["Timeout"] < GATEWAY_SECONDS


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_is_called_by_something(function: str) -> None:
    assert triggers_of(function)


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if "asynchronous" in triggers_of(name)])
def test_an_asynchronous_function_has_a_dead_letter_queue(function: str) -> None:
    assert functions()[function]["DeadLetterConfig"]["TargetArn"] == "<DeadLetterQueue.Arn>"


def test_a_change_of_any_parameter_that_decides_on_the_keys_copies_them_anew() -> None:
    decisive = {name for name in source()["Parameters"] if name.startswith(("Jwks", "JwtAlg", "JwtSecret"))}
    assert decisive == {name for name in source()["Resources"]["Keys"]["Properties"] if not name.startswith("Service")}


def test_the_cluster_needs_no_role_that_a_fresh_account_has_not() -> None:
    """Capacity providers need ECS's service-linked role, which appears with an account's first cluster or service."""
    [cluster] = properties_of("AWS::ECS::Cluster").values()
    assert cluster == {}
    run = yaml.safe_load((ROOT / "statemachines/run.asl.yaml").read_text())["States"]["RunInWorker"]["Parameters"]
    assert run["LaunchType"] == "FARGATE"


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if "deployment" in triggers_of(name)])
def test_cloudformation_waits_longer_than_a_deployments_function_may_take(function: str) -> None:
    waits = [
        int(resource["Properties"]["ServiceTimeout"])
        for resource in deployed().values()
        if resource["Properties"].get("ServiceToken") == f"<{function}.Arn>"
    ]
    assert all(wait > functions()[function]["Timeout"] for wait in waits), "else its answer comes too late to be heard"


# Queues and streams


def test_every_queue_but_the_last_has_a_dead_letter_queue() -> None:
    queues = properties_of("AWS::SQS::Queue")
    last = [name for name, queue in queues.items() if "RedrivePolicy" not in queue]
    assert last == ["DeadLetterQueue"]
    assert all(
        queue["RedrivePolicy"]["deadLetterTargetArn"] == "<DeadLetterQueue.Arn>"
        for name, queue in queues.items()
        if name not in last
    )


def test_dead_letters_are_kept_for_as_long_as_sqs_can() -> None:
    assert properties_of("AWS::SQS::Queue")["DeadLetterQueue"]["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_a_queue_hides_a_message_for_longer_than_its_function_may_take_with_retries() -> None:
    for mapping in properties_of("AWS::Lambda::EventSourceMapping").values():
        queue = mapping["EventSourceArn"].removeprefix("<").removesuffix(".Arn>")
        if queue in properties_of("AWS::SQS::Queue"):
            function = mapping["FunctionName"].strip("<>")
            hidden = properties_of("AWS::SQS::Queue")[queue]["VisibilityTimeout"]
            assert hidden >= QUEUE_TIMES * functions()[function]["Timeout"]


STREAMS = {
    mapping["FunctionName"].strip("<>"): mapping
    for mapping in of_type(deployed(), "AWS::Lambda::EventSourceMapping").values()
    if "StreamArn" in mapping["EventSourceArn"]
}


def test_the_tables_stream_has_two_readers_one_on_each_side_of_the_networks_border() -> None:
    """A third is throttled (DynamoDB developer guide, "DynamoDB Streams and AWS Lambda triggers")."""
    mappings = of_type(deployed(), "AWS::Lambda::EventSourceMapping").values()
    assert len([mapping for mapping in mappings if "StreamArn" in mapping["EventSourceArn"]]) == 2
    assert sorted("VpcConfig" in functions()[name] for name in STREAMS) == [False, True]


def test_the_streams_reader_outside_the_network_only_sends_messages() -> None:
    """Whatever is slow, or may fail, waits in a queue: behind this function waits every later change."""
    [outside] = [name for name in STREAMS if "VpcConfig" not in functions()[name]]
    assert reach(module_of(functions()[outside]["Handler"])).operations == {("sqs", "send_message")}


@pytest.mark.parametrize("function", STREAMS)
def test_a_streams_reader_follows_what_its_filters_let_through(function: str) -> None:
    followers = import_module(module_of(functions()[function]["Handler"])).FOLLOWERS
    patterns = [json.loads(entry["Pattern"])["dynamodb"] for entry in STREAMS[function]["FilterCriteria"]["Filters"]]
    prefixes = {
        (
            place.get("pk", {"S": [{"prefix": ""}]})["S"][0]["prefix"],
            place.get("sk", {"S": [{"prefix": ""}]})["S"][0]["prefix"],
        )
        for pattern in patterns
        for place in [pattern.get("Keys") or pattern["NewImage"]]
    }
    for pk, sk in prefixes:
        assert any(each.pk.startswith(pk) and each.sk.startswith(sk) for each in followers), f"nobody follows {pk} {sk}"
    for each in followers:
        assert any(each.pk.startswith(pk) and each.sk.startswith(sk) for pk, sk in prefixes), (
            f"no filter lets {each.pk}"
        )


def test_the_clock_is_not_called_again_for_a_tick_that_failed() -> None:
    """The next tick does what it left; a retry would only come between."""
    [config] = [
        each
        for each in properties_of("AWS::Lambda::EventInvokeConfig").values()
        if each["FunctionName"] == "<OnTickFunction>"
    ]
    assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (0, 60)
    assert "OnFailure" not in config.get("DestinationConfig", {}), "the dead-letter queue is the function's"
    assert functions()["OnTickFunction"]["DeadLetterConfig"]["TargetArn"] == "<DeadLetterQueue.Arn>"
    schedules = properties_of("AWS::Scheduler::Schedule").values()
    [schedule] = [each for each in schedules if each["Target"]["Arn"] == "<OnTickFunction.Arn>"]
    assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0


@pytest.mark.parametrize("function", STREAMS)
def test_a_poisoned_stream_record_is_isolated_and_given_up_on(function: str) -> None:
    mapping = STREAMS[function]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert 1 <= mapping["MaximumRetryAttempts"] <= 100
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == "<DeadLetterQueue.Arn>"
    assert "FunctionResponseTypes" not in mapping, "only a function's error is bisected; these raise what went wrong"
    assert mapping["StartingPosition"] == "TRIM_HORIZON", "what is written during the deployment counts too"


@pytest.mark.parametrize("function", STREAMS)
def test_a_streams_filters_are_json_and_pass_the_functions_sample_event(function: str) -> None:
    patterns = [json.loads(entry["Pattern"]) for entry in STREAMS[function]["FilterCriteria"]["Filters"]]
    assert 1 <= len(patterns) <= 5, "Lambda takes five"
    stem = module_of(functions()[function]["Handler"]).rpartition(".")[2]
    sample = json.loads((EVENTS / f"{stem}.json").read_text())
    for record in sample["Records"]:
        assert any(matches(pattern, record) for pattern in patterns)


def test_an_event_rule_passes_the_functions_sample_event() -> None:
    for rule in properties_of("AWS::Events::Rule").values():
        [target] = rule["Targets"]
        function = target["Arn"].removeprefix("<").removesuffix(".Arn>")
        stem = module_of(functions()[function]["Handler"]).rpartition(".")[2]
        sample = json.loads((EVENTS / f"{stem}.json").read_text())
        pattern = json.loads(json.dumps(rule["EventPattern"]).replace("<RunStateMachine>", machine_of(sample)))
        assert matches(pattern, sample)


def machine_of(sample: dict[str, Any]) -> str:
    """The state machine of a sample event."""
    return str(sample["detail"]["stateMachineArn"])


# Storage


def test_the_table_can_be_restored_forgets_by_itself_and_tells_its_changes() -> None:
    [table] = properties_of("AWS::DynamoDB::Table").values()
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert table["SSESpecification"]["SSEEnabled"] is True
    assert table["BillingMode"] == "PAY_PER_REQUEST", "nothing costs while idle"


def test_what_holds_data_outlives_the_stack() -> None:
    kept = {"AWS::DynamoDB::Table", "AWS::S3::Bucket"}
    for name, resource in transformed()["Resources"].items():
        if resource["Type"] in kept:
            assert resource.get("DeletionPolicy") == resource.get("UpdateReplacePolicy") == "Retain", name


@pytest.mark.parametrize("bucket", ["ExportsBucket", "BackupsBucket"])
@pytest.mark.parametrize("variant", ["defaults", "keys of the owner"])
def test_a_bucket_is_private_encrypted_and_forgets_unfinished_uploads(bucket: str, variant: str) -> None:
    properties = properties_of("AWS::S3::Bucket", variant)[bucket]
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    [rule] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    encryption = rule["ServerSideEncryptionByDefault"]
    key = VARIANTS[variant].get("KmsKeyArn")
    assert encryption["SSEAlgorithm"] == ("aws:kms" if key else "AES256")
    assert encryption.get("KMSMasterKeyID") == key
    assert any("AbortIncompleteMultipartUpload" in rule for rule in properties["LifecycleConfiguration"]["Rules"])


@pytest.mark.parametrize("bucket", ["ExportsBucket", "BackupsBucket"])
def test_a_bucket_refuses_what_is_not_encrypted_on_the_way(bucket: str) -> None:
    [policy] = [
        policy for policy in properties_of("AWS::S3::BucketPolicy").values() if policy["Bucket"] == f"<{bucket}>"
    ]
    assert [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        and {f"<{bucket}.Arn>", f"<{bucket}.Arn>/*"} <= set(statement["Resource"])
    ]


def test_expired_exports_are_gone_and_deleted_backups_are_not() -> None:
    buckets = properties_of("AWS::S3::Bucket")
    assert "VersioningConfiguration" not in buckets["ExportsBucket"]
    assert buckets["BackupsBucket"]["VersioningConfiguration"] == {"Status": "Enabled"}


def test_the_lifecycle_of_exports_never_takes_a_file_that_still_lives() -> None:
    rules = properties_of("AWS::S3::Bucket")["ExportsBucket"]["LifecycleConfiguration"]["Rules"]
    days = [rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule]
    longest = int(source()["Parameters"]["ExportHours"]["MaxValue"]) / 24
    assert days
    assert min(days) > longest


# The API


def test_the_api_shows_pages_of_other_origins_the_headers_of_the_contract() -> None:
    api = deployed("keys of the owner")["Api"]["Properties"]["Body"]
    cors = api["x-amazon-apigateway-cors"]
    assert cors["allowOrigins"] == ["https://app.example.com", "https://admin.example.com"]
    assert {
        "etag", "location", "retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset",
        "content-disposition",
    } <= set(cors["exposeHeaders"])  # fmt: skip
    assert cors["allowCredentials"] is True
    assert "*" not in json.dumps(cors), "a browser refuses credentials for every origin"
    methods = {
        event["Properties"]["Method"]
        for function in FUNCTIONS
        for event in events_of(function).values()
        if event["Type"] == "HttpApi" and "Method" in event["Properties"]
    }
    assert methods <= set(cors["allowMethods"])


# Alarms and metrics


def test_a_clock_that_stands_still_raises_an_alarm() -> None:
    alarms = properties_of("AWS::CloudWatch::Alarm", "keys of the owner")
    still = {
        alarm["Dimensions"][0]["Value"]: (alarm["MetricName"], alarm["ComparisonOperator"])
        for alarm in alarms.values()
        if alarm["TreatMissingData"] == "breaching"
    }
    assert still == {
        "<OnTickFunction>": ("Invocations", "LessThanThreshold"),
        "<CheckProtectionFunction>": ("ProtectionChecks", "LessThanThreshold"),
    }
    assert all(alarm["AlarmActions"] == ["<AlarmTopic>"] for alarm in alarms.values())


def test_a_dead_letter_raises_an_alarm() -> None:
    watched = [alarm.get("Dimensions") for alarm in properties_of("AWS::CloudWatch::Alarm").values()]
    assert [{"Name": "QueueName", "Value": "<DeadLetterQueue.QueueName>"}] in watched


def test_no_metric_has_a_tenant_as_its_dimension() -> None:
    """Each tenant would be a metric of its own, for $0.30 a month; who must know reads the log or the run store."""
    makes_dimensions = re.compile(
        r"add_dimension|set_default_dimensions|put_metric_data|CloudWatchMetrics|EphemeralMetrics"
    )
    found = [path for path in product_files() if makes_dimensions.search(path.read_text())]
    assert [relative(path) for path in found] == ["layers/stowage/stowage/protection/checking.py"]
    assert '"Dimensions": [["FunctionName"]]' in found[0].read_text()


# Parameters and settings


def test_every_parameter_is_used_described_and_grouped() -> None:
    text = TEMPLATE.read_text().partition("\nConditions:")[2]
    parameters = source()["Parameters"]
    unused = [name for name in parameters if not re.search(rf"!Ref {name}\b|\$\{{{name}\}}", text)]
    assert not unused
    groups = source()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(parameters)
    silent = [name for name, parameter in parameters.items() if not parameter.get("Description")]
    assert not silent, "say what it means: this is what the owner reads when deploying"


def test_every_condition_is_used() -> None:
    resources = json.dumps([source()["Resources"], source()["Outputs"]])
    used = re.findall(r'"(?:Fn::If": \[|Condition": )"(\w+)"', resources)
    assert set(used) == set(source()["Conditions"])


def test_a_parameter_has_the_same_default_as_its_setting() -> None:
    """Locally and in tests a setting may be missing; it then means what a deployment's default means."""
    variables = {
        **source()["Globals"]["Function"]["Environment"]["Variables"],
        **{
            name: value
            for function in source()["Resources"].values()
            for name, value in function.get("Properties", {}).get("Environment", {}).get("Variables", {}).items()
        },
    }
    same = {}
    for variable, value in variables.items():
        field = Settings.model_fields.get(variable.removeprefix("STOWAGE_").lower())
        parameter = source()["Parameters"].get(value.get("Ref")) if isinstance(value, dict) else None
        if field is None or parameter is None or "Default" not in parameter or variable == "STOWAGE_DATABASE_LOGIN":
            continue
        default = field.get_default(call_default_factory=True)
        same[variable] = (
            str(parameter["Default"]).replace("{}", ""),
            str(default).replace("{}", "").replace("True", "true").replace("False", "false"),
        )
    assert same
    assert not {variable: pair for variable, pair in same.items() if pair[0] != pair[1]}


OF_THE_IMAGE = {"pg_dump"}
"""Settings that the worker's image gives, or Postgres' own names on a laptop."""


def environments() -> dict[str, dict[str, Any]]:
    """The variables of each function's environment and of the worker's container."""
    [task] = properties_of("AWS::ECS::TaskDefinition").values()
    worker = {variable["Name"]: variable["Value"] for variable in task["ContainerDefinitions"][0]["Environment"]}
    return {name: properties["Environment"]["Variables"] for name, properties in functions().items()} | {
        "worker": worker
    }


def test_every_variable_of_ours_is_a_setting() -> None:
    unknown = {
        f"{name}: {variable}"
        for name, variables in environments().items()
        for variable in variables
        if variable.startswith("STOWAGE_") and variable.removeprefix("STOWAGE_").lower() not in Settings.model_fields
    }
    assert not unknown


def settings_read_by(module: str) -> set[str]:
    """The settings that a module's code reads."""
    read = reach(module).settings
    return (read | {"database_url", "databases"} if "url_of" in read else read) & set(Settings.model_fields)


@pytest.mark.parametrize("module", [*sorted(function_by_module()), "worker.__main__"])
def test_code_is_given_the_settings_that_it_reads_and_no_others(module: str) -> None:
    """One left out would quietly be its default; one too many is told to code that it is no business of."""
    given = environments()[function_by_module().get(module, "worker")]
    variables = {name for name in given if name.startswith("STOWAGE_")}
    read = {f"STOWAGE_{setting.upper()}" for setting in settings_read_by(module) - OF_THE_IMAGE}
    where = "the worker's container" if module == "worker.__main__" else function_by_module()[module]
    assert sorted(read - variables) == [], f"add to the Environment of {where} in template.yaml"
    assert sorted(variables - read) == [], f"take out of the Environment of {where} in template.yaml"


def test_every_setting_has_a_default() -> None:
    """Otherwise a function that does not read it could not read its own."""
    assert not [name for name, field in Settings.model_fields.items() if field.is_required()]


def test_every_setting_is_given_by_the_template_or_says_why_not() -> None:
    given = {variable for variables in environments().values() for variable in variables}
    left_out = {name for name in Settings.model_fields if f"STOWAGE_{name.upper()}" not in given}
    assert left_out == OF_THE_IMAGE


def test_secrets_are_passed_by_reference() -> None:
    """The value of a secret in an environment could be read by whoever may look at the function."""
    resolved = json.dumps(deployed_with(JwtSecretArn="arn:secret"))
    assert "{{resolve:secretsmanager" not in resolved
    assert "NoEcho" not in TEMPLATE.read_text()


def test_layers_are_built_by_makefiles_for_the_functions_platform() -> None:
    for name, resource in source()["Resources"].items():
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            assert resource["Metadata"]["BuildMethod"] == "makefile"
            makefile = (TEMPLATE.parent / resource["Properties"]["ContentUri"] / "Makefile").read_text()
            assert f"build-{name}:" in makefile
            assert "/python" not in makefile or "unchecked-hash" in makefile, (
                "zips carry 1980's dates, which void bytecode that looks at them"
            )
    assert "--only-binary=:all:" in (PACKAGE.parent.parent / "dependencies/Makefile").read_text()


@pytest.mark.parametrize(
    "query",
    [
        "postgresql://ep-x.eu-central-1.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
        "postgresql://ep-x.neon.tech/neondb?sslmode=require&options=endpoint%3Dep-x",
        "postgres://ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1a2b3?sslmode=require",
        "postgresql://db.project.supabase.co:5432/postgres",
        "postgresql://x.cluster-y.eu-central-1.rds.amazonaws.com:5432/app?sslmode=verify-full",
        "postgresql://a:5432,b:5432/app?target_session_attrs=read-write",
    ],
)
def test_the_databases_url_is_taken_as_providers_give_it_but_without_a_login(query: str) -> None:
    pattern = transformed()["Parameters"]["DatabaseUrl"]["AllowedPattern"]
    assert re.fullmatch(pattern, query)
    assert not re.fullmatch(pattern, query.replace("://", "://user:secret@"))
    assert all(host in query for host in conninfo_to_dict(query)["host"].split(","))
