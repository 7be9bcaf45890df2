"""YAML from people and from strangers: a mapping of plain values, or one line that says why not."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from facemae_cli.errors import InputError

MAX_BYTES = 2**16
MAX_NODES = 4096
MAX_DEPTH = 32  # of lists and mappings in each other
MAX_DIGITS = 80  # of a whole number; a sha256 that somebody forgot to quote may look like one
_TAG = "tag:yaml.org,2002:"
_PLAIN = [_TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map")]


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, whose expansion can outgrow memory, without tags, which name kinds that a value may
    not be of, without repeated keys, and for no more values than are read in a moment."""

    nodes = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(None, None, "aliases are not taken here", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(None, None, f"the tag {event.tag!r} is not taken here", event.start_mark)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise yaml.MarkedYAMLError(None, None, f"more than {MAX_NODES} keys and values", event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(None, None, f"lists and mappings over {MAX_DEPTH} deep", event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MAX_DIGITS:
            raise yaml.MarkedYAMLError(None, None, f"a number of over {MAX_DIGITS} digits", node.start_mark)
        return super().construct_yaml_int(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_TAG}str":
                raise yaml.MarkedYAMLError(None, None, "a key must be plain text", key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_constructors = {tag: _Loader.yaml_constructors[tag] for tag in _PLAIN} | {
    f"{_TAG}int": _Loader.construct_yaml_int,
    None: _Loader.yaml_constructors[None],  # says which tag is not taken
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN]  # a date stays text
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
# YAML 1.1, which PyYAML reads, takes 1e-4 for text.
_Loader.add_implicit_resolver(f"{_TAG}float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


def load_mapping(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The mapping in the YAML file `path`: text keys; values of text, numbers, booleans, null, lists and mappings.

    An empty file is an empty mapping. Raises InputError for a file of over `max_bytes` bytes, for what is not YAML,
    not a mapping, holds an alias or the same key twice, and OSError where it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InputError(f"{path} is larger than {max_bytes} bytes, the limit for such a file; shorten it")
    try:
        value = yaml.load(data, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not YAML that is taken here: {_first_problem(error)}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a {type(value).__name__} where a mapping (`key: value` lines) is wanted")
    return value


def _first_problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem}, line {error.problem_mark.line + 1}"
    return " ".join(str(error).split()) or type(error).__name__
