"""`template.yaml` as plain CloudFormation, transformed as `sam package` and the SAM macro would, without S3."""

import hashlib
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

from local.console import StartError
from local.resolver import Resolver

type Json = Any


def transform(path: Path, cache: Path) -> dict[str, Json]:
    """The transformed template, from the cache where template, state machines and translator are unchanged.

    Parameters keep their references: the translator gets markers, which `resolve` replaces.
    """
    sources = [path, *sorted((path.parent / "statemachines").glob("*.yaml"))]
    digest = hashlib.sha256(importlib.metadata.version("aws-sam-translator").encode())
    for source in [*sources, Path(__file__)]:
        digest.update(source.read_bytes() + b"\0")
    cached = cache / f"template-{digest.hexdigest()[:16]}.json"
    if cached.exists():
        loaded: dict[str, Json] = json.loads(cached.read_text())
        return loaded
    transformed = _translate(path)
    cache.mkdir(parents=True, exist_ok=True)
    for old in cache.glob("template-*.json"):
        old.unlink(missing_ok=True)
    partial = cached.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(transformed))
    partial.replace(cached)
    return transformed


def parse_yaml(text: str) -> Json:
    """YAML with CloudFormation's short forms. libyaml reads it ten times as fast as the translator's own function."""
    import yaml
    from samtranslator.yaml_helper import intrinsics_multi_constructor

    class Loader(yaml.CSafeLoader):
        pass

    Loader.add_multi_constructor("!", intrinsics_multi_constructor)
    loader = Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _translate(path: Path) -> dict[str, Json]:
    from samtranslator.translator.transform import transform as translate

    class NoManagedPolicies:
        def load(self) -> dict[str, str]:
            return {}

    source = parse_yaml(path.read_text())
    defaults = source.get("Globals", {}).get("Function", {})
    if isinstance(defaults.get("CodeUri"), str):
        defaults["CodeUri"] = _uploaded(defaults["CodeUri"])
    for resource in source["Resources"].values():
        properties = resource.setdefault("Properties", {})
        if resource["Type"] == "AWS::Serverless::StateMachine" and isinstance(properties.get("DefinitionUri"), str):
            properties["Definition"] = parse_yaml((path.parent / properties.pop("DefinitionUri")).read_text())
        for key in ("CodeUri", "ContentUri"):
            if isinstance(properties.get(key), str):
                properties[key] = _uploaded(properties[key])
    markers = {name: _marker(name, parameter) for name, parameter in source.get("Parameters", {}).items()}
    transformed: dict[str, Json] = translate(source, markers, NoManagedPolicies())
    return transformed


def _uploaded(folder: str) -> str:
    return "s3://local/" + folder.strip("/")


def _marker(name: str, parameter: dict[str, Json]) -> Json:
    """What stands for a parameter until the translation is done; a list's marker is in a list, as its value will be."""
    marker = f"@@parameter:{name}@@"
    return [marker] if parameter.get("Type") == "CommaDelimitedList" else marker


def parameter_values(transformed: dict[str, Json], given: dict[str, str]) -> dict[str, Json]:
    """Each parameter's value, lists as lists; StartError names one that has neither a value nor a default."""
    values = {}
    declared = transformed.get("Parameters", {})
    for name, parameter in declared.items():
        if name not in given and "Default" not in parameter:
            raise StartError(
                f"template.yaml has the parameter {name} without a default, and local/parameters.py no value"
            )
        value = str(given.get(name, parameter.get("Default")))
        values[name] = (
            [part.strip() for part in value.split(",")] if parameter["Type"] == "CommaDelimitedList" else value
        )
    unknown = [name for name in given if name not in declared]
    if unknown:
        raise StartError(f"template.yaml has no parameter {', '.join(unknown)}; see local/parameters.py")
    return values


def replace_markers(node: Json, values: dict[str, Json]) -> Json:
    """The node with each marker replaced by its parameter's value."""
    if isinstance(node, dict):
        return {key: replace_markers(value, values) for key, value in node.items()}
    if isinstance(node, list):
        if (
            len(node) == 1
            and isinstance(node[0], str)
            and _name_of(node[0])
            and isinstance(values[_name_of(node[0])], list)
        ):
            return values[_name_of(node[0])]
        return [replace_markers(value, values) for value in node]
    if isinstance(node, str) and _name_of(node):
        return values[_name_of(node)]
    return node


def _name_of(text: str) -> str:
    return text[len("@@parameter:") : -2] if text.startswith("@@parameter:") and text.endswith("@@") else ""


def resources(transformed: dict[str, Json], resolver: Resolver) -> dict[str, dict[str, Json]]:
    """The resources whose condition holds, every reference in them replaced by its value."""
    found = {}
    for logical_id, resource in transformed["Resources"].items():
        if resolver.holds(resource.get("Condition")):
            found[logical_id] = {
                "Type": resource["Type"],
                "Properties": resolver.resolve(resource.get("Properties", {})),
            }
    return found
