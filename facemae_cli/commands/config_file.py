"""facemae.yaml: options from the working folder, for the flags that were not given.

    mask:
      ratio: 0.5
      keep-names: true

Its keys nest by command and are the long names of options. What it sets goes through the same parsing as a flag.
A folder that is an input or an output may come from somebody else, so a facemae.yaml inside one is ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from facemae_cli.commands.help import long_names
from facemae_cli.errors import UsageError

FILE_NAME = "facemae.yaml"


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
    options_of = [param for param in command.params if param.param_type_name == "option" and param.name != "help"]
    known = {long_name(param): param for param in options_of}
    older = {flag.lstrip("-"): param for param in options_of for flag in long_names(param)}
    values = {}
    for option, value in options.items():
        if option not in older:
            raise UsageError(f"{FILE_NAME}: unknown option {name}: {option!r}; known: {', '.join(sorted(known))}")
        if value is not None:
            values[older[option].name] = _as_typed(f"{name}: {option}", value, older[option])
    return values


def long_name(param: Any) -> str:
    """A parameter's name on the command line, `keep-names` for --keep-names; an argument's own name."""
    return str(next(iter(long_names(param)), param.name)).lstrip("-")


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
    return os.path.expanduser(str(value))  # as a shell does on the command line


def settings_used(ctx: Any, params: Iterable[Any]) -> dict[str, Any]:
    """What of the options `params` facemae.yaml set in this call, by long name, as JSON types."""
    return {long_name(param): _json_value(ctx.params[param.name]) for param in params if is_set(ctx, param.name)}


def is_set(ctx: Any, name: str | None) -> bool:
    """Whether the value of the parameter `name` comes from facemae.yaml."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def lies_in_any(folder: Path, paths: Iterable[Path]) -> bool:
    """Whether `folder` is one of the datasets `paths` or lies inside one."""
    from facemae_cli.data.files import is_inside, whole_of

    return any(is_inside(folder, whole_of(path)) for path in paths)


def _json_value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    return value if isinstance(value, (bool, int, float)) else str(value)
