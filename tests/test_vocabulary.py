"""One word, one meaning: what was retired from names, messages and help does not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "facemae_cli"
MODULES = {path.relative_to(PACKAGE.parent).as_posix(): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
# Words of names, and what is said instead.
RETIRED_NAMES = {
    "augmenting": "augmentation",
    "draw": "sample, reconstruct, plot or make",
    "drawing": "sample, reconstruct, plot or make",
    "drawn": "sampled, reconstructed, plotted or made",
    "engine": "pipeline",
    "enrolment": "labels",
    "feed": "loader",
    "footprint": "memory estimate",
    "imposters": "overlapping non-members",
    "openset": "membership attack",
    "outnames": "output names",
    "recogniser": "recognizer",
    "recsink": "record writer",
    "sheets": "pictures",
    "sink": "writer",
    "standings": "ranks",
    "twin": "same photo",
    "whoiswho": "matching",
    "wording": "text",
}
# What messages and help do not say, with what they say instead.
RETIRED_PHRASES = {
    r"\bunless (said|told)\b": "default:",
    r"\bmay be said again\b": "repeatable",
    r"\b(reads|computes|masks|measures|converts|decodes|writes) nothing\b": "must be at least 1",
    r"\ban error of ours\b": "internal error",
    r"\bleaves the house\b": "share only",
    r"\bleast real -> real\b": "minimum real-to-real risk",
    r"\bcarr(y|ies) a verdict\b": "count",
    r"(?<!there )\b(is|are|was|were) no (?!longer\b|more\b|less\b)[a-z]": "is not a",
    r"\bdr(aw|aws|awn|awing)\b": "sample, reconstruct, plot or make",
}


def words(name: str) -> set[str]:
    """`FolderSink` and `folder_sink` as folder and sink."""
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


def public_names(tree: ast.Module) -> Iterator[str]:
    """The classes, functions and parameters of a module that others may name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name
            if isinstance(node, ast.FunctionDef):
                yield from (argument.arg for argument in (*node.args.args, *node.args.kwonlyargs))


def texts(tree: ast.Module, in_commands: bool) -> Iterator[str]:
    """The texts of a module that a person may be shown: all but docstrings, which are help in a command."""
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
            first = node.body[0]
            is_help = in_commands and isinstance(node, ast.FunctionDef) and bool(node.decorator_list)
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and not is_help:
                docstrings.add(first.value)
            for after in node.body:  # a docstring of a field
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and after is not first:
                    docstrings.add(after.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            yield node.value


def test_no_public_name_holds_a_retired_word() -> None:
    found = [
        f"{module}: {name}: say {RETIRED_NAMES[word]}"
        for module, tree in MODULES.items()
        for name in (*Path(module).with_suffix("").parts, *public_names(tree))
        for word in sorted(words(name) & RETIRED_NAMES.keys())
    ]
    assert found == []


def test_no_message_and_no_help_says_a_retired_phrase() -> None:
    said = [(module, text) for module, tree in MODULES.items() for text in texts(tree, "/commands/" in module)]
    said += [(str(page.relative_to(PACKAGE)), page.read_text()) for page in PACKAGE.rglob("*.html")]
    found = [
        f"{module}: {text!r}: say {better}"
        for module, text in said
        for phrase, better in RETIRED_PHRASES.items()
        if re.search(phrase, text)
    ]
    assert found == []
