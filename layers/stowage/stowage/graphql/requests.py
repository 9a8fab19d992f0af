"""What a GraphQL request may ask for: its shape, and how deep, wide and costly it may be (docs/api.md, GraphQL).

Everything here is looked at before the library validates a document, since validating is what an attack would use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    parse,
)
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from stowage.basics.errors import BadRequestError
from stowage.entities.declared import ENTITIES
from stowage.records.bodies import read_body
from stowage.records.queries import DEFAULT_LIMIT, MOST_LIMIT

LONGEST_QUERY = 20_000
MOST_TOKENS = 2_000
MOST_DEPTH = 10
MOST_ALIASES = 30
MOST_COST = 5_000
MOST_ROOTS = 20
KEPT_DOCUMENTS = 16
"""A client sends the same few texts again and again; a document of the most tokens takes about a megabyte."""


class GraphqlRequest(BaseModel):
    """A request of GraphQL over HTTP."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = Field(min_length=1, max_length=LONGEST_QUERY)
    variables: dict[str, Any] | None = None
    operationName: str | None = None
    extensions: dict[str, Any] | None = None


_REQUEST = TypeAdapter(GraphqlRequest)


def read_request(raw: bytes) -> GraphqlRequest:
    """The request of a body, numbers of its variables with all their digits. BadRequestError."""
    return read_body(_REQUEST, raw, exactly=True)


@lru_cache(KEPT_DOCUMENTS)
def parsed(query: str) -> DocumentNode:
    """The document of a text. GraphQLError where it is none, or is longer than we take."""
    return parse(
        query,
        max_source_length=LONGEST_QUERY,
        max_lexical_tokens=MOST_TOKENS,
        max_comments=100,
        allow_empty_selection_sets=False,
    )


def read_document(request: GraphqlRequest) -> DocumentNode:
    """The document of a request. GraphQLError where it is none, or is longer, deeper or costlier than we take."""
    document = parsed(request.query)
    measured = _Measuring(document, request.variables or {}).whole()
    for value, most, what in (
        (measured.depth, MOST_DEPTH, "levels deep"),
        (measured.aliases, MOST_ALIASES, "aliases"),
        (measured.cost, MOST_COST, "values in all, each list counted by its limit"),
        (measured.roots, MOST_ROOTS, "fields at the top"),
    ):
        if value > most:
            raise _too_much(f"The query has {_told(value)} {what}; at most {most:,} are allowed.")
    return document


def _told(value: int) -> str:
    return f"{value:,}" if value < 1_000_000 else "more than a million"


def _too_much(message: str) -> GraphQLError:
    return GraphQLError(message, original_error=BadRequestError(message, "query_too_complex"))


@dataclass
class _Measure:
    depth: int = 0
    aliases: int = 0
    cost: int = 0
    roots: int = 0

    def add(self, other: "_Measure") -> None:
        self.depth = max(self.depth, other.depth)
        self.aliases += other.aliases
        self.cost += other.cost
        self.roots += other.roots


@dataclass
class _Measuring:
    """Each fragment is gone through once, however often it is used. One that uses itself is refused."""

    document: DocumentNode
    variables: Mapping[str, Any]
    found: dict[str, _Measure] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)

    def whole(self) -> _Measure:
        """The largest of the operations' measures, each value by itself."""
        whole = _Measure()
        self.fragments = {
            node.name.value: node for node in self.document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        for node in self.document.definitions:
            if isinstance(node, OperationDefinitionNode):
                self.defaults = {
                    each.variable.name.value: each.default_value for each in node.variable_definitions or ()
                }
                self.found.clear()
                measure = self.of(node.selection_set)
                whole.depth, whole.aliases = max(whole.depth, measure.depth), max(whole.aliases, measure.aliases)
                whole.cost, whole.roots = max(whole.cost, measure.cost), max(whole.roots, measure.roots)
        return whole

    def of(self, selections: SelectionSetNode | None) -> _Measure:
        measure = _Measure()
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode):
                measure.add(self.of_field(node))
            elif isinstance(node, FragmentSpreadNode):
                measure.add(self.of_fragment(node.name.value))
            else:
                measure.add(self.of(node.selection_set))  # type: ignore[attr-defined]
        return measure

    def of_field(self, node: FieldNode) -> _Measure:
        aliases = 1 if node.alias else 0
        if node.name.value.startswith("__"):
            return _Measure(1, aliases, 1, 1)  # of the schema, which no table is read for
        below = self.of(node.selection_set)
        cost = 1 + self.times(node) * below.cost
        return _Measure(1 + below.depth, aliases + below.aliases, cost, 1)

    def of_fragment(self, name: str) -> _Measure:
        if name in self.open:
            raise _too_much(f"The fragment {name} uses itself.")
        if name not in self.found:
            self.open.append(name)
            fragment = self.fragments.get(name)
            self.found[name] = self.of(fragment.selection_set if fragment else None)
            self.open.pop()
        return self.found[name]

    def times(self, node: FieldNode) -> int:
        """How many records a field may give: what its `limit` says, of a list of ours."""
        if node.name.value not in ENTITIES:
            return 1
        given = next((each.value for each in node.arguments or () if each.name.value == "limit"), None)
        if isinstance(given, VariableNode):
            name = given.name.value
            value = self.variables.get(name)
            if isinstance(value, int):
                return min(max(value, 1), MOST_LIMIT)
            given = self.defaults.get(name)
        return min(max(int(given.value[:4]), 1), MOST_LIMIT) if isinstance(given, IntValueNode) else DEFAULT_LIMIT
