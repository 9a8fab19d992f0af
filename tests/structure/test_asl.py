"""The state machine: complete, bounded, JSONPath only, and nothing in it but placeholders and ids."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from stowage.entry.step import StepInput
from tests.structure.deployed_template import deployed, of_type, source
from tests.structure.repository import ROOT, WORKER

FILE = ROOT / "statemachines/run.asl.yaml"
TEXT = FILE.read_text()
MACHINE: dict[str, Any] = yaml.safe_load(TEXT)
STATES: dict[str, Any] = MACHINE["States"]
TASKS = [name for name, state in STATES.items() if state["Type"] == "Task"]
LAMBDAS = [name for name in TASKS if re.fullmatch(r"\$\{\w+FunctionArn\}", STATES[name]["Resource"])]
SETTLES_FAILURES = "Fail"
WORTH_ANOTHER_CALL = {
    "Lambda.ServiceException", "Lambda.SdkClientException", "Lambda.TooManyRequestsException",
    "Lambda.ResourceNotReadyException",
    "ECS.ThrottlingException", "ECS.ServerException",
}  # fmt: skip
"""Errors of the call itself: nothing of ours has run then, so that calling again is no second attempt."""


def properties() -> dict[str, Any]:
    """The state machine as the template has it."""
    [machine] = [
        resource["Properties"]
        for resource in source()["Resources"].values()
        if resource["Type"] == "AWS::Serverless::StateMachine"
    ]
    found: dict[str, Any] = machine
    return found


def texts(node: Any) -> Iterator[str]:
    """Every string below, keys left out."""
    match node:
        case dict():
            for value in node.values():
                yield from texts(value)
        case list():
            for value in node:
                yield from texts(value)
        case str():
            yield node


def successors(state: dict[str, Any]) -> set[str]:
    """The states that may come next."""
    found = [state[name] for name in ("Next", "Default") if name in state]
    return {*found, *(branch["Next"] for branch in state.get("Choices", []) + state.get("Catch", []))}


def function_of(state: str) -> str:
    """The function that a state calls."""
    given = properties()["DefinitionSubstitutions"][STATES[state]["Resource"][2:-1]]
    # Where the deployment has no such function, its state is never chosen.
    return str(given.get("Fn::If", [None, given])[1]["Fn::GetAtt"][0])


def test_every_placeholder_is_substituted_and_every_substitution_used() -> None:
    assert set(re.findall(r"\$\{(\w+)\}", TEXT)) == set(properties()["DefinitionSubstitutions"])


@pytest.mark.parametrize("state", LAMBDAS)
def test_a_placeholder_stands_for_the_function_of_its_name(state: str) -> None:
    assert STATES[state]["Resource"] == f"${{{function_of(state)}Arn}}"


def test_every_state_can_be_reached_and_every_next_state_exists() -> None:
    reached, todo = set(), [MACHINE["StartAt"]]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += successors(STATES[name])
    assert reached == set(STATES)


def test_every_path_ends() -> None:
    ends = [name for name, state in STATES.items() if state.get("End") or state["Type"] in ("Succeed", "Fail")]
    assert ends
    assert all(successors(state) or name in ends for name, state in STATES.items())


@pytest.mark.parametrize("state", [name for name in TASKS if name != SETTLES_FAILURES])
def test_whatever_goes_wrong_in_a_state_is_settled_by_fail(state: str) -> None:
    assert STATES[state]["Catch"] == [
        {"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": SETTLES_FAILURES}
    ]


def test_a_run_that_failed_ends_its_execution_as_failed() -> None:
    end = STATES[STATES[SETTLES_FAILURES]["Next"]]
    assert end["Type"] == "Fail", "else AWS's console and metrics count it as a success"


@pytest.mark.parametrize("state", TASKS)
def test_a_task_is_tried_again_only_where_nothing_of_ours_has_run(state: str) -> None:
    retried = {error for rule in STATES[state].get("Retry", []) for error in rule["ErrorEquals"]}
    assert retried <= WORTH_ANOTHER_CALL


@pytest.mark.parametrize("state", ["RunInline", "RunInImage"])
def test_an_attempt_inside_a_function_is_called_again_only_where_the_call_was_throttled(state: str) -> None:
    """Any other error of a call may come after the function has begun, and an attempt is claimed once."""
    assert [rule["ErrorEquals"] for rule in STATES[state]["Retry"]] == [
        ["Lambda.TooManyRequestsException", "Lambda.ResourceNotReadyException"]
    ]


def test_states_are_written_in_json_path() -> None:
    assert "QueryLanguage" not in TEXT
    assert "{%" not in TEXT


def test_the_machine_and_every_task_have_a_time_out() -> None:
    assert MACHINE["TimeoutSeconds"] > max(STATES[name]["TimeoutSeconds"] for name in TASKS)


def test_the_machines_time_out_leaves_room_for_settling_the_longest_lane() -> None:
    lanes = [state["Next"] for state in STATES["ChooseLane"]["Choices"]]
    around = sum(STATES[name]["TimeoutSeconds"] for name in TASKS if name not in lanes)
    assert MACHINE["TimeoutSeconds"] >= max(STATES[name]["TimeoutSeconds"] for name in lanes) + around


@pytest.mark.parametrize("state", LAMBDAS)
def test_a_function_ends_before_its_state_does(state: str) -> None:
    assert deployed()[function_of(state)]["Properties"]["Timeout"] < STATES[state]["TimeoutSeconds"]


def test_there_are_no_ids_or_arns_besides_those_of_service_integrations() -> None:
    assert [text for text in texts(MACHINE) if "arn:" in text] == ["arn:aws:states:::ecs:runTask.sync"]
    assert not [text for text in texts(MACHINE) if re.search(r"\b\d{12}\b|\b(subnet|sg|vpc)-\w", text)]


@pytest.mark.parametrize("state", LAMBDAS)
def test_a_step_is_given_ids_and_why_the_attempt_ended_and_nothing_larger(state: str) -> None:
    """States.ALL does not catch States.DataLimitExceeded, so that no state may grow."""
    parameters = STATES[state]["Parameters"]
    given = {name.removesuffix(".$"): value for name, value in parameters.items()}
    wanted = {"tenant": "$.tenant", "run_id": "$.run_id", "attempt": "$.attempt", "execution": "$$.Execution.Name"}
    if state == SETTLES_FAILURES:
        wanted["failure"] = "$.failure"
    assert given == wanted
    assert set(given) <= set(StepInput.model_fields)


@pytest.mark.parametrize("state", TASKS)
def test_no_task_adds_its_result_to_what_is_passed_on_but_the_lane(state: str) -> None:
    assert STATES[state]["ResultPath"] == ("$.plan" if state == "Plan" else None)
    assert "ResultSelector" not in STATES[state] or state == "Plan"
    assert "OutputPath" not in STATES[state]


def test_the_worker_gets_its_run_by_the_names_that_it_reads() -> None:
    parameters = STATES["RunInWorker"]["Parameters"]
    [override] = parameters["Overrides"]["ContainerOverrides"]
    [task] = of_type(deployed(), "AWS::ECS::TaskDefinition").values()
    assert override["Name"] == task["ContainerDefinitions"][0]["Name"]
    read = set(re.findall(r'os\.environ\["(\w+)"\]', (WORKER / "__main__.py").read_text()))
    assert {variable["Name"] for variable in override["Environment"]} == read
    assert "Command" not in json.dumps(override), "the image's own entry point runs"


def test_the_lanes_of_the_plan_are_those_of_the_code() -> None:
    from stowage.runs.plan import WAIT
    from stowage.runs.record import Lane

    lanes = {choice["StringEquals"] for choice in STATES["ChooseLane"]["Choices"]}
    assert lanes == set(Lane.__value__.__args__)
    assert WAIT not in lanes
    assert STATES[STATES["ChooseLane"]["Default"]]["Type"] == "Succeed"
