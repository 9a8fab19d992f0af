"""What the local stack does not know of a template is a start error, with its name and line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.console import StartError
from local.identities import PLAYED_BY_MOTO, WITHOUT_EFFECT
from local.known_properties import Known
from local.template import parse_yaml
from local.template_check import EVENTS, TYPES, check
from tests.structure.repository import ROOT

TEMPLATE = (ROOT / "template.yaml").read_text()

VARIANTS = {
    "a misspelled property": ("BillingMode: PAY", "BillingMod: PAY", "Table (AWS::DynamoDB::Table)", "BillingMod;"),
    "a misspelled part": (
        "StreamViewType:", "StreamViewtype:", "Table (AWS::DynamoDB::Table).StreamSpecification", "StreamViewtype;",
    ),
    "a part of a list": ("NoncurrentDays:", "NonCurrentDays:", "NoncurrentVersionExpiration", "NonCurrentDays;"),
    "a property of an event": ("ScalingConfig:", "Scaling:", "OnWakeFunction.Wake (SQS)", "Scaling"),
    "a property of a stream": ("BisectBatchOnFunctionError:", "BisectOnError:", "(DynamoDB)", "BisectOnError"),
    "one level too high": (
        "ScalingConfig: {MaximumConcurrency: 2}", "MaximumConcurrency: 2", "OnWakeFunction.Wake (SQS)",
        "MaximumConcurrency",
    ),
    "beside the properties": (
        "    Properties:\n      Handler: triggers.on_wake.app",
        "    Timeout: 30\n    Properties:\n      Handler: triggers.on_wake.app",
        "OnWakeFunction", "Timeout",
    ),
    "an unknown type": (
        "    Type: AWS::ECS::Cluster", "    Type: AWS::ECS::Service", "Cluster", "no type AWS::ECS::Service",
    ),
    "an unknown event": ("Type: ScheduleV2", "Type: Schedule", "OnTickFunction", "no event of type Schedule"),
    "behind a condition": ("AllowMethods:", "AllowMethod:", "Api (AWS::Serverless::HttpApi)", "AllowMethod;"),
    "of every function": ("    MemorySize: 512", "    MemorySiz: 512", "Globals.Function", "MemorySiz;"),
    "of a function": (
        "      Handler: triggers.on_wake.app", "      Handlr: triggers.on_wake.app", "OnWakeFunction", "Handlr;",
    ),
    "of a secret": ("PasswordLength:", "Length:", "JwtSecret", "Length"),
    "of a container": ("StopTimeout:", "StopTimout:", "ContainerDefinitions", "StopTimout;"),
    "of a state machine": ("DefinitionSubstitutions:", "Substitutions:", "RunStateMachine", "Substitutions"),
    "of a queue": ("VisibilityTimeout: 180", "VisibilityTimout: 180", "WakeQueue", "VisibilityTimout;"),
    "of a redrive": ("maxReceiveCount:", "MaxReceiveCount:", "RedrivePolicy", "MaxReceiveCount;"),
}  # fmt: skip


def test_the_template_is_known() -> None:
    check(ROOT / "template.yaml")


@pytest.mark.parametrize(("old", "new", "where", "what"), VARIANTS.values(), ids=VARIANTS)
def test_what_is_unknown_is_named_with_its_line(tmp_path: Path, old: str, new: str, where: str, what: str) -> None:
    assert old in TEMPLATE, "the template says it otherwise now"
    changed = TEMPLATE.replace(old, new, 1)
    line = 1 + changed[: changed.index(new)].count("\n")
    file = tmp_path / "template.yaml"
    file.write_text(changed)
    with pytest.raises(StartError) as refused:
        check(file)
    (told,) = [each for each in str(refused.value).splitlines() if each.startswith("  line ")]
    assert told.startswith((f"  line {line}: ", f"  line {line + new.startswith('    Properties')}: "))
    assert where in told
    assert what.rstrip(";") in told
    assert ("; is it " in told) >= what.endswith(";")


def test_the_long_forms_of_functions_are_read_too(tmp_path: Path) -> None:
    old = "ScalingConfig: {MaximumConcurrency: 2}"
    new = 'ScalingConfig: {"Fn::If": [UseKms, {%s: 2}, {Ref: "AWS::NoValue"}]}'
    file = tmp_path / "template.yaml"
    file.write_text(TEMPLATE.replace(old, new % "MaximumConcurrency"))
    check(file)
    file.write_text(TEMPLATE.replace(old, new % "Maximum"))
    with pytest.raises(StartError, match="no property Maximum"):
        check(file)


def test_everything_unknown_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "template.yaml"
    file.write_text(TEMPLATE.replace("ScalingConfig:", "Scaling:").replace("BillingMode:", "Billing:"))
    with pytest.raises(StartError, match=r"(?s)Table.*Billing.*OnWakeFunction.*Scaling"):
        check(file)


def test_every_ignored_property_has_a_reason() -> None:
    for kind, known in {**TYPES, **EVENTS}.items():
        for reason in _reasons(known):
            assert len(reason.split()) >= 2, kind


def _reasons(known: Known) -> Iterator[str]:
    match known:
        case str():
            yield known
        case dict():
            for inner in known.values():
                yield from _reasons(inner)
        case [inner]:
            yield from _reasons(inner)


def test_every_type_that_is_played_has_its_properties() -> None:
    declared = {resource["Type"] for resource in parse_yaml(TEMPLATE)["Resources"].values()}
    assert {kind for kind in declared if not kind.startswith("Custom::")} <= {*TYPES}
    assert {*PLAYED_BY_MOTO} - {*TYPES} == {"AWS::StepFunctions::StateMachine"}
    assert {*WITHOUT_EFFECT} <= {*TYPES}
