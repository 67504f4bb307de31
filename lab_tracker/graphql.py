"""GraphQL over plain objects: graphql-core parses, a short walk answers.

Why no schema: every version of the SDK asks for other fields, the real server's schema is not
public, and the walk takes 0.06 s for 1,000 artifacts where graphql-core's executor takes 0.29 s.
An object is a dict of values, and of functions that take the field's arguments."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    parse,
    value_from_ast_untyped,
)

from lab_tracker.errors import RequestError
from lab_tracker.limits import MAX_ANSWER_FIELDS, MAX_QUERY_DEPTH, MAX_QUERY_TOKENS

Node = dict[str, Any]
Root = Mapping[str, Callable[..., Any]]

_log = logging.getLogger(__name__)

TYPENAME = "__typename"
# The abstract types that the SDK's fragments name, and what belongs to them.
_ABSTRACT = {"ArtifactCollection": {"ArtifactSequence", "ArtifactPortfolio"}}


def execute(request: object, roots: Mapping[str, Root]) -> dict[str, Any]:
    """The answer to a request of the GraphQL-over-HTTP form: `data`, or `errors` that name the
    operation. `roots` has the functions of each kind of operation, `query` and `mutation`."""
    name = "GraphQL request"
    try:
        if not isinstance(request, Mapping) or not isinstance(request.get("query"), str):
            raise RequestError("The request must be a JSON object with a `query`.")
        document = _parsed(request["query"])
        operation = _operation(document, request.get("operationName"))
        if operation.name:
            name = operation.name.value
        given = request.get("variables")
        walk = _Walk(document, operation, {} if given is None else given)
        return {"data": walk.answer(roots[operation.operation.value])}
    except GraphQLError as error:
        message = error.message
    except RequestError as error:
        message = str(error)
    except RecursionError:
        message = "The request is nested too deeply."
    except sqlite3.OperationalError:
        raise  # the store is locked or full, which has nothing to do with the request
    except Exception:
        _log.exception("%s failed", name)
        message = "The arguments make no sense here."
    return {"errors": [{"message": f"{name}: {message}", "path": [name]}], "data": None}


def snake_case(name: str) -> str:
    """`artifact_id` for `artifactID`, `entity_name` for `entityName`."""
    out = ""
    for i, letter in enumerate(name):
        if letter.isupper() and i and not name[i - 1].isupper():
            out += "_"
        out += letter.lower()
    return out


def connection(
    rows: list[Any], make: Callable[[Any], Node], first: int | None, after: str | None
) -> Node:
    """A page of a list, in the form of GraphQL's connections. The cursor is the count so far."""
    start = _count(after)
    stop = len(rows) if first is None else start + max(0, int(first))
    return page(rows[start:stop], make, start, len(rows))


def page(rows: list[Any], make: Callable[[Any], Node], start: int, total: int) -> Node:
    """The same for rows that are a page already: they begin at `start` of `total`."""
    end = start + len(rows)
    return {
        TYPENAME: "Connection",
        "totalCount": total,
        "pageInfo": {
            TYPENAME: "PageInfo",
            "endCursor": str(end) if rows else None,
            "hasNextPage": end < total,
        },
        "edges": [
            {TYPENAME: "Edge", "cursor": str(start + i + 1), "node": make(row)}
            for i, row in enumerate(rows)
        ],
    }


def _count(cursor: object) -> int:
    try:
        return max(0, int(cursor)) if cursor else 0
    except (TypeError, ValueError):
        raise RequestError("A cursor must be one that this server gave.") from None


@lru_cache(maxsize=256)
def _parsed(query: str) -> DocumentNode:
    return parse(query, no_location=True, max_tokens=MAX_QUERY_TOKENS)


def _operation(document: DocumentNode, name: object) -> OperationDefinitionNode:
    found = [
        definition
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
        and (not name or (definition.name and definition.name.value == name))
    ]
    if len(found) != 1:
        raise RequestError("The request must have one operation, or name one of its own.")
    return found[0]


class _Walk:
    """One operation on its way through the objects."""

    def __init__(
        self, document: DocumentNode, operation: OperationDefinitionNode, given: Any
    ) -> None:
        if not isinstance(given, Mapping):
            raise RequestError("`variables` must be an object.")
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._operation = operation
        self._variables = {
            variable.variable.name.value: value_from_ast_untyped(variable.default_value)
            for variable in operation.variable_definitions or ()
            if variable.default_value
        } | dict(given)
        self._fields = 0

    def answer(self, root: Root) -> Node:
        data = {}
        kind = self._operation.operation.value
        for field in self._selected(self._operation.selection_set, kind.title(), 0):
            resolve = root.get(field.name.value)
            if resolve is None:
                raise RequestError(f"this tracker does not know the {kind} {field.name.value!r}.")
            value = resolve(**self._arguments(field))
            data[_key(field)] = self._complete(field, value, 1)
        return data

    def _complete(self, field: FieldNode, value: Any, depth: int) -> Any:
        """The part of a value that the field selects."""
        self._fields += 1
        if depth > MAX_QUERY_DEPTH or self._fields > MAX_ANSWER_FIELDS:
            raise RequestError("The answer would be too large; ask for less.")
        if value is None or not field.selection_set:
            return value
        if isinstance(value, list):
            return [self._complete(field, item, depth) for item in value]
        data = {}
        for child in self._selected(field.selection_set, value[TYPENAME], depth):
            name = child.name.value
            found = value.get(name)
            if callable(found):
                found = found(**self._arguments(child))
            elif found is None and name not in value:
                self._unknown(value[TYPENAME], child)
            data[_key(child)] = self._complete(child, found, depth + 1)
        return data

    def _unknown(self, typename: str, field: FieldNode) -> None:
        """A newer SDK may ask for a plain value that is not kept here: it gets null. What takes
        arguments or has parts is a feature, and its absence must be told."""
        if field.selection_set or field.arguments:
            raise RequestError(
                f"this tracker does not know the field {field.name.value!r} of {typename}."
            )

    def _selected(
        self, selection: SelectionSetNode, typename: str, depth: int
    ) -> Iterator[FieldNode]:
        """The fields of a selection, those of its fragments among them."""
        if depth > MAX_QUERY_DEPTH:
            raise RequestError("The request is nested too deeply.")
        for node in selection.selections:
            if not self._included(node):
                continue
            if isinstance(node, FieldNode):
                yield node
                continue
            fragment: Any = node
            if isinstance(node, FragmentSpreadNode):
                fragment = self._fragments.get(node.name.value)
                if fragment is None:
                    raise RequestError(f"there is no fragment {node.name.value}.")
            assert isinstance(fragment, InlineFragmentNode | FragmentDefinitionNode)
            condition = fragment.type_condition.name.value if fragment.type_condition else typename
            if condition == typename or typename in _ABSTRACT.get(condition, ()):
                yield from self._selected(fragment.selection_set, typename, depth + 1)

    def _included(self, node: Any) -> bool:
        for directive in node.directives or ():
            condition = next((self._value(a.value) for a in directive.arguments), None)
            if bool(condition) is (directive.name.value == "skip"):
                return False
        return True

    def _arguments(self, field: FieldNode) -> dict[str, Any]:
        """The arguments in Python's spelling; `input: {...}` is unpacked; variables that were not
        given are left out."""
        arguments = {
            argument.name.value: self._value(argument.value)
            for argument in field.arguments or ()
            if not _is_absent(argument.value, self._variables)
        }
        if isinstance(inner := arguments.pop("input", None), Mapping):
            arguments |= inner
        return {snake_case(name): value for name, value in arguments.items()}

    def _value(self, node: ValueNode) -> Any:
        return value_from_ast_untyped(node, self._variables)


def _is_absent(node: ValueNode, variables: Mapping[str, Any]) -> bool:
    return node.kind == "variable" and node.name.value not in variables


def _key(field: FieldNode) -> str:
    return field.alias.value if field.alias else field.name.value


def parsed_json(text: object, default: Any = None) -> Any:
    """What a JSONString argument holds. Raises RequestError where it is none."""
    if text is None or text == "":
        return default
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise RequestError("An argument is no JSON.") from None
