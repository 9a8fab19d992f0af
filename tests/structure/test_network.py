"""A function is in the VPC exactly if it speaks SQL, and calls nothing from there but DynamoDB and S3."""

import ast
from functools import cache
from urllib.parse import parse_qs, urlsplit

import pytest

from stowage.entry.http import MOUNTS
from tests.structure.deployed_template import deployed_with, function_by_module, functions, of_type, paths_of
from tests.structure.fresh_python import run_python
from tests.structure.reachable_code import CLIENTS, Reach, operations_of, reach, tree
from tests.structure.repository import modules

GATEWAY_ENDPOINTS = {"dynamodb", "s3"}
"""What has a free endpoint in a VPC; anything else would need a NAT gateway or an endpoint that costs by the hour."""

CHOSEN_BY_THE_DEPLOYMENT = frozenset(
    {
        # DatabaseLogin=secret: the parameter's description says that it needs a way out of the VPC.
        "stowage.postgres.session.connection._passwords",
        # Upstream mode: VpcConfig falls away with it, which is tested below.
        "stowage.entry.upstream.forward",
    }
)
HANDLERS = sorted(function_by_module())


@cache
def sql_handlers() -> list[str]:
    """Found when the first test asks: every process collects this file, one runs it."""
    found = [module for module in HANDLERS if reach(module).speaks_sql]
    assert found
    return found


def reached(module: str) -> Reach:
    """What a handler reaches where the deployment has not chosen otherwise."""
    return reach(module, CHOSEN_BY_THE_DEPLOYMENT)


@pytest.mark.parametrize("module", HANDLERS)
def test_a_function_is_in_the_vpc_exactly_if_it_speaks_sql(module: str) -> None:
    in_vpc = "VpcConfig" in functions()[function_by_module()[module]]
    sql = sorted(name for name in reach(module).definitions if name.startswith("stowage.postgres."))
    assert in_vpc == bool(sql), f"{module}: VpcConfig {in_vpc}, reaches {sql}"


def test_a_function_in_the_vpc_calls_only_services_with_a_gateway_endpoint() -> None:
    others = {module: reached(module).clients - GATEWAY_ENDPOINTS for module in sql_handlers()}
    assert {module: clients for module, clients in others.items() if clients} == {}


def test_a_function_in_the_vpc_sends_no_http_of_its_own() -> None:
    sent = {module: senders(module) for module in sql_handlers()}
    assert {module: names for module, names in sent.items() if names} == {}


def senders(module: str) -> set[str]:
    """What a handler reaches that sends HTTP."""
    found = {name for name in reached(module).outside if name.split(".")[0] in ("requests", "socket", "urllib3")}
    found |= {name for name in reached(module).outside if name.startswith(("http.client", "urllib.request"))}
    if reached(module).definitions & {"stowage.entry.deployment.on_deployment"}:
        # CloudFormation's answer goes to a link into S3.
        found -= {"urllib.request", "urllib.request.Request", "urllib.request.urlopen"}
    return found


def test_the_worker_calls_only_services_with_a_gateway_endpoint() -> None:
    assert reach("worker.__main__", CHOSEN_BY_THE_DEPLOYMENT).clients <= GATEWAY_ENDPOINTS


def test_the_exceptions_to_the_network_rule_still_exist() -> None:
    everything = frozenset().union(*(reach(module).definitions for module in HANDLERS))
    assert everything >= CHOSEN_BY_THE_DEPLOYMENT


def test_in_upstream_mode_exactly_the_functions_that_forward_leave_the_vpc() -> None:
    found = deployed_with(BackendApiUrl="https://backend.example.com")
    forwarding = {name for name in functions() if any(path.startswith(MOUNTS) for path in paths_of(found, name))}
    assert forwarding
    inside = {name for name, properties in functions().items() if "VpcConfig" in properties}
    still = {name for name, properties in of_type(found, "AWS::Lambda::Function").items() if "VpcConfig" in properties}
    assert still & set(functions()) == inside - forwarding


def test_the_walk_understands_every_use_of_a_client() -> None:
    """Otherwise a call could hide from the tests of this folder."""
    hidden = []
    for module in modules():
        if not module.startswith("stowage.aws") or module == CLIENTS:
            continue
        getters = {
            alias.name
            for node in ast.walk(tree(module))
            if isinstance(node, ast.ImportFrom) and node.module == CLIENTS
            for alias in node.names
        }
        for statement in tree(module).body:
            uses = [
                node
                for node in ast.walk(statement)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in getters
            ]
            if not uses or not isinstance(statement, ast.FunctionDef | ast.ClassDef):
                assert not uses, f"{module}: a client made at import"
                continue
            attributes = {id(node.value): node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
            unseen = [node.lineno for node in uses if id(node) not in attributes]
            if unseen and f"{module}.{statement.name}" != "stowage.aws.table._call":
                hidden += [f"{module}:{line}" for line in unseen]
            named = {attribute for node in uses if (attribute := attributes.get(id(node))) not in (None, "exceptions")}
            assert not named or operations_of(f"{module}.{statement.name}")
    assert not hidden, f"call the client's operation where the client is named: {hidden}"


def test_the_walk_finds_what_a_lane_imports_only_when_it_runs() -> None:
    found = reach("steps.run_inline")
    assert "stowage.exports.making.make_export" in found.definitions
    assert ("s3", "upload_part") in found.operations
    assert found.speaks_sql


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_links_are_signed_with_version_4_and_carry_the_bucket_in_the_host_name(region: str) -> None:
    """KMS refuses links of version 2, which boto3 still makes in the oldest regions unless told otherwise."""
    code = """
from stowage.aws.objects import signed_link
print(signed_link("some-bucket", "a/b", file_name="a.csv", content_type="text/csv", seconds=60))
"""
    credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": region}
    link = urlsplit(run_python(code, credentials | {"AWS_DEFAULT_REGION": region}))
    assert link.netloc.startswith("some-bucket.s3.")
    assert parse_qs(link.query)["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
