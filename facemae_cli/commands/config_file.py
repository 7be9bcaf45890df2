"""facemae.yaml: options from the working folder, for the flags that were not given.

    mask:
      ratio: 0.5
      keep-names: true

Its keys nest by command and are the long names of options. What it sets goes through the same parsing as a flag.
A folder that is an input or an output may come from a stranger, so a facemae.yaml inside one is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from facemae_cli.commands.console import notice, settings_in_use
from facemae_cli.data.files import is_inside
from facemae_cli.errors import UsageError

FILE_NAME = "facemae.yaml"
NOT_SETTINGS = {"help"}


def load_settings(folder: Path, commands: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of `folder`/facemae.yaml for each of `commands` (click commands by name), by parameter name.

    A value is what the command line would hold, text or a list of text, except for a flag's bool. Without the file:
    nothing. Raises UsageError for an unknown command or option, a value no option can have, and an unreadable file.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return {}
    from facemae_cli.data.safe_yaml import load_mapping

    settings: dict[str, dict[str, Any]] = {}
    for name, options in load_mapping(path).items():
        if name not in commands:
            raise UsageError(f"{FILE_NAME}: unknown command {name!r}; known: {', '.join(sorted(commands))}")
        if not isinstance(options, dict | None):
            raise UsageError(f"{FILE_NAME}: {name} holds {options!r}; write options below it, such as `ratio: 0.5`")
        settings[name] = _command_settings(name, commands[name], options or {})
    return settings


def _command_settings(name: str, command: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    known = {long_name(param): param for param in command.params if param.param_type_name == "option"}
    known = {option: param for option, param in known.items() if option not in NOT_SETTINGS}
    values = {}
    for option, value in options.items():
        if option not in known:
            raise UsageError(f"{FILE_NAME}: unknown option {name}: {option!r}; known: {', '.join(sorted(known))}")
        if value is not None:
            values[known[option].name] = _as_typed(f"{name}: {option}", value, known[option])
    return values


def long_name(param: Any) -> str:
    """A parameter's longest flag without dashes, `keep-names` for --keep-names; an argument's own name."""
    return max(param.opts, key=len).lstrip("-")


def _as_typed(where: str, value: Any, param: Any) -> Any:
    """`value` as the command line would hand it to `param`, so that both are checked by the same code."""
    if param.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{FILE_NAME}: {where} is {value!r}; it takes true or false")
        return value
    many = param.multiple or param.nargs != 1
    if many and isinstance(value, list):
        return [_as_text(where, item) for item in value]
    text = _as_text(where, value)
    return [text] if many else text


def _as_text(where: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"{FILE_NAME}: {where} is {value!r}; it takes one number or text")
    return str(value)


class Command(TyperCommand):
    """A command whose options facemae.yaml may set, through click's default map."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first line of the help, whole: click would cut it after `limit` letters."""
        return (self.help or "").partition("\n")[0]

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parses `args`; without the settings where the working folder turns out to be an input or an output."""
        settings = {} if parent is None else (parent.default_map or {}).get(info_name or "", {})
        context = self._parse(info_name, args, parent, {**extra, "default_map": settings})
        if settings and _lies_in_any(Path.cwd(), self._paths(context)):
            notice(f"{FILE_NAME} is ignored: the working folder is an input or an output of this command")
            context = self._parse(info_name, args, parent, {**extra, "default_map": {}})
        return context

    def _parse(self, info_name: str | None, args: list[str], parent: Any, extra: dict[str, Any]) -> Any:
        try:
            return super().make_context(info_name, list(args), parent, **extra)
        except typer.BadParameter as error:
            if error.ctx is not None and error.param is not None and _is_set(error.ctx, error.param.name):
                error.message = f"{error.message} (set by {FILE_NAME})"
            raise

    def _paths(self, ctx: Any) -> Iterator[Path]:
        for param in self.params:
            given = ctx.params.get(param.name)
            # A typer built on click makes a Path of the text only when it calls the command.
            typed_as_path = getattr(getattr(param, "type", None), "name", "") in ("path", "directory")
            for value in given if isinstance(given, (list, tuple)) else [given]:
                if isinstance(value, Path) or (typed_as_path and isinstance(value, str)):
                    yield Path(value)

    def invoke(self, ctx: Any) -> Any:
        """Says what facemae.yaml set, then runs the command."""
        used = {long_name(p): _json_value(ctx.params[p.name]) for p in self.params if _is_set(ctx, p.name)}
        if used:
            notice(f"{FILE_NAME} sets " + ", ".join(f"--{option} {value}" for option, value in used.items()))
        settings_in_use.set(used)
        return super().invoke(ctx)


def _is_set(ctx: Any, name: str | None) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def _lies_in_any(folder: Path, paths: Iterable[Path]) -> bool:
    datasets = (path.parent if path.name in ("train.rec", "pairs.txt") else path for path in paths)
    return any(is_inside(folder, dataset) for dataset in datasets)


def _json_value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    return value if isinstance(value, (bool, int, float)) else str(value)
