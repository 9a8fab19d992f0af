"""CloudFormation's intrinsic functions, where every name and ARN is known beforehand."""

import json
import re
from collections.abc import Mapping
from typing import Any

from local.console import StartError

type Json = Any
_MISSING = object()
_PLACEHOLDER = re.compile(r"\$\{(!?)([^}]+)\}")


class Resolver:
    """Replaces references: `known` holds what `Ref` gives by name, and what `Fn::GetAtt` gives by `name.attribute`."""

    def __init__(
        self, known: Mapping[str, Json], conditions: Mapping[str, Json], mappings: Mapping[str, Json] | None = None
    ) -> None:
        self._known, self._conditions, self._mappings = known, conditions, mappings or {}

    def holds(self, condition: str | None) -> bool:
        """Whether a condition of the template holds; none always does."""
        return condition is None or bool(self.resolve(self._conditions[condition]))

    def resolve(self, node: Json) -> Json:
        """The node with its functions evaluated; parts that are `AWS::NoValue` are left out."""
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not _MISSING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(name, argument)] = node.items()
            if name in ("Ref", "Condition") or name.startswith("Fn::"):
                return self._call(name, argument)
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not _MISSING}

    def _call(self, name: str, argument: Json) -> Json:  # noqa: PLR0912  one function of CloudFormation each
        match name:
            case "Ref":
                return _MISSING if argument == "AWS::NoValue" else self._look_up(argument)
            case "Condition":
                return self.holds(argument) if isinstance(argument, str) else {name: self.resolve(argument)}
            case "Fn::GetAtt":
                return self._look_up(argument if isinstance(argument, str) else ".".join(argument))
            case "Fn::If":
                return self.resolve(argument[1] if self.holds(argument[0]) else argument[2])
            case "Fn::Sub":
                return self._substitute(argument)
        values = self.resolve(argument)
        match name:
            case "Fn::Join":
                return values[0].join(str(value) for value in values[1])
            case "Fn::Split":
                return values[1].split(values[0])
            case "Fn::Select":
                return values[1][int(values[0])]
            case "Fn::Equals":
                return str(values[0]) == str(values[1])
            case "Fn::Not":
                return not values[0]
            case "Fn::And":
                return all(values)
            case "Fn::Or":
                return any(values)
            case "Fn::FindInMap":
                return self._mappings[values[0]][values[1]][values[2]]
            case "Fn::ToJsonString":
                return json.dumps(values)
        raise StartError(f"The local stack does not know {name}; see local/resolver.py")

    def _look_up(self, name: str) -> Json:
        if name not in self._known:
            raise StartError(f"template.yaml refers to {name}, which local/identities.py does not know")
        return self._known[name]

    def _substitute(self, argument: Json) -> str:
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def value(match: re.Match[str]) -> str:
            literal, name = match[1], match[2].strip()
            if literal:
                return f"${{{name}}}"
            return str(self.resolve(variables[name]) if name in variables else self._look_up(name))

        return _PLACEHOLDER.sub(value, text)
