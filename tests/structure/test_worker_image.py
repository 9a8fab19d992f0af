"""The worker's image, as far as its Dockerfile tells: only what is needed, and run by nobody in particular."""

import importlib
import re

from tests.structure.deployed_template import deployed, functions, image_function, of_type
from tests.structure.repository import ROOT, WORKER

STAGES = [
    [(name, rest.strip()) for name, rest in re.findall(r"^([A-Z]+)\s+(.*)$", stage, re.MULTILINE)]
    for stage in re.split(r"^(?=FROM )", re.sub(r"\\\n", " ", (WORKER / "Dockerfile").read_text()), flags=re.MULTILINE)[
        1:
    ]
]
FINAL = STAGES[-1]


def given(instruction: str) -> list[str]:
    """What stands behind each such instruction of the last stage, in order."""
    return [rest for name, rest in FINAL if name == instruction]


def test_the_worker_is_no_root() -> None:
    [user] = given("USER")
    assert user not in ("root", "0")
    assert any(f"useradd --system --uid 10001 --no-create-home {user}" in command for command in given("RUN"))
    assert [name for name, _ in FINAL].index("USER") > max(
        place for place, (name, _) in enumerate(FINAL) if name == "RUN"
    )


def test_pg_dump_is_the_program_and_not_the_wrapper_on_the_path() -> None:
    assert "STOWAGE_PG_DUMP=/usr/lib/postgresql/${POSTGRES}/bin/pg_dump" in given("ENV")
    assert any(re.fullmatch(r"POSTGRES=\d+", argument) for argument in given("ARG")), "its scope is one stage"
    assert any("postgresql-client-${POSTGRES}" in command for command in given("RUN"))


def test_only_the_package_and_the_worker_are_copied() -> None:
    assert given("COPY") == [
        "--from=wheels /wheels /opt/wheels",
        "layers/stowage/stowage /opt/stowage/stowage",
        "layers/entities/stowage_entities /opt/stowage/stowage_entities",
        "worker/__init__.py worker/__main__.py worker/function.py /opt/stowage/worker/",
    ]
    assert not given("ADD")
    sources = [path for stage in STAGES for name, rest in stage if name == "COPY" for path in rest.split()[:-1]]
    assert all((ROOT / path).exists() for path in sources if not path.startswith(("--from", "/")))


def test_wheels_are_those_of_the_lock() -> None:
    [install] = [rest for name, rest in STAGES[0] if name == "RUN"]
    assert "--require-hashes" in install
    assert "--only-binary=:all:" in install


def test_the_function_of_the_image_knows_what_the_worker_does_and_may_what_functions_may() -> None:
    function = image_function()
    [task] = of_type(deployed(), "AWS::ECS::TaskDefinition").values()
    [container] = task["ContainerDefinitions"]
    given = {each["Name"]: each["Value"] for each in container["Environment"] if each["Name"].startswith("STOWAGE_")}
    assert function["Environment"]["Variables"] == given
    assert function["Role"] == functions()["RunInlineFunction"]["Role"], "it restores nothing"
    assert function["Code"]["ImageUri"] == container["Image"]
    assert "SubnetIds" in function["VpcConfig"]


def test_the_function_of_the_image_is_run_by_lambdas_own_runtime_client() -> None:
    """The image's own entry point waits for a run in its environment, not for an event."""
    config = image_function()["ImageConfig"]
    assert config["EntryPoint"] == ["python", "-m", "awslambdaric"]
    [handler] = config["Command"]
    module, _, name = handler.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))
    assert f"{module.replace('.', '/')}.py" in " ".join(given("COPY"))
    assert "awslambdaric" in (WORKER / "requirements.in").read_text().splitlines()
