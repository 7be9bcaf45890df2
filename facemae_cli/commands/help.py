"""Help that can be read: options in groups, alike in their metavars and defaults, and one example to start from.

Written with click's plain formatter: rich's panels would cost `--help` their import, and a pipe their frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

OTHER = "Other"


def long_names(param: Any) -> list[str]:
    """The long flags of an option: the first is its name, any further one an old spelling that still works."""
    return [flag for flag in param.opts if flag.startswith("--")]


def write_options(params: Iterable[Any], formatter: Any) -> None:
    """Writes what `params` (of a click command) are for, under the heading of each one's group."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for param in params:
        if not getattr(param, "hidden", False):
            heading = getattr(param, "rich_help_panel", None) or (
                OTHER if param.param_type_name == "option" else "Arguments"
            )
            groups.setdefault(heading, []).append((_usage(param), _text(param)))
    for heading in sorted(groups, key=lambda heading: heading == OTHER):
        with formatter.section(heading):
            formatter.write_dl(groups[heading], col_max=32)


def write_example(line: str | None, formatter: Any) -> None:
    """Writes a command line as it is typed: it is cut between options only."""
    if line:
        with formatter.section("Example"):
            formatter.write_text("\b\n" + "\n".join(_broken(line, formatter.width - formatter.current_indent)))


def _broken(line: str, width: int) -> Iterator[str]:
    """A command line in pieces of at most `width` letters, each but the last with the shell's sign of continuation."""
    piece = ""
    for words in line.replace(" -", "\n-").split("\n"):
        if piece and len(piece) + len(words) + 3 > width:
            yield piece + " \\"
            piece = "    " + words
        else:
            piece = f"{piece} {words}".strip() if not piece.startswith(" ") else f"{piece} {words}"
    yield piece


def _usage(param: Any) -> str:
    """How an option is written: `-i, --in DATA`."""
    if param.param_type_name != "option":
        return str(param.metavar or param.name.upper())
    short = [flag for flag in param.opts if not flag.startswith("--")]
    flags = ", ".join([*short, *long_names(param)[:1]])
    return flags if param.is_flag else f"{flags} {param.metavar or 'VALUE'}"


def _text(param: Any) -> str:
    said = "required" if param.required else _default(param)
    return f"{param.help or ''}  [{said}]" if said else str(param.help or "")


def _default(param: Any) -> str | None:
    """`default: 2`; of an option that may be left out altogether: nothing."""
    shown = getattr(param, "show_default", None)
    if isinstance(shown, str):
        return f"default: {shown}"
    value = getattr(param.default, "value", param.default)
    if value is None or isinstance(value, bool | list | tuple) or callable(value) or shown is False:
        return None
    return f"default: {value}"
