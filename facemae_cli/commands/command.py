"""What all commands have in common: each is the options of a task, and calls the task of its own name with them."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

import facemae_cli
from facemae_cli.commands import config_file
from facemae_cli.commands.console import Console, settings_in_use
from facemae_cli.commands.help import write_example, write_options
from facemae_cli.commands.options import Json, MaxPixels
from facemae_cli.commands.terminal import notice
from facemae_cli.data.images.headers.header import MAX_PIXELS
from facemae_cli.errors import UsageError

# Options of the console and of the process, which no task takes; those that every command has.
NOT_OF_THE_TASK = ("json", "refused", "max_pixels")
OF_ALL = (
    inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json),
    inspect.Parameter("max_pixels", inspect.Parameter.KEYWORD_ONLY, default=MAX_PIXELS, annotation=MaxPixels),
)


def task_command(example: str) -> Callable[[Callable[..., None]], Callable[..., int]]:
    """Makes a command of a function whose signature is its options, and whose docstring is its help.

    The command calls `facemae_cli.<the function's name>` with these options, and shows the result; --json and
    --max-pixels are every command's. `example` is the command line that ends the help.
    """

    def make(signature: Callable[..., None]) -> Callable[..., int]:
        @wraps(signature)
        def command(**options: Any) -> int:
            return _run(signature.__name__, options)

        parameters = [*inspect.signature(signature, eval_str=True).parameters.values(), *OF_ALL]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        command.example = example  # type: ignore[attr-defined]
        return command

    return make


def _run(name: str, options: Mapping[str, Any]) -> int:
    of_the_task = {key: value for key, value in options.items() if key not in NOT_OF_THE_TASK}
    from facemae_cli.commands.places import check_places  # not for every --help
    from facemae_cli.commands.precheck import check_inputs

    check_places(options)
    check_inputs(name, options)
    flags = {key: bool(options.get(key)) for key in ("json", "overwrite")}
    with Console(refused=options.get("refused"), **flags) as console:
        return console.finish(getattr(facemae_cli, name)(**of_the_task, progress=console))


class Command(TyperCommand):
    """A command whose help can be read, and whose options facemae.yaml may set, through click's default map."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first line of the help, whole: click would cut it after `limit` letters."""
        return (self.help or "").partition("\n")[0]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options in their groups, then the example."""
        write_options(self.get_params(ctx), formatter)
        write_example(getattr(self.callback, "example", None), formatter)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parses `args`; without the settings where the working folder turns out to be an input or an output."""
        settings = {} if parent is None else (parent.default_map or {}).get(info_name or "", {})
        context = self._parse(info_name, args, parent, {**extra, "default_map": settings})
        if settings and config_file.lies_in_any(Path.cwd(), self._paths(context)):
            notice(f"{config_file.FILE_NAME} is ignored: the working folder is an input or an output of this command")
            context = self._parse(info_name, args, parent, {**extra, "default_map": {}})
        return context

    def _parse(self, info_name: str | None, args: list[str], parent: Any, extra: dict[str, Any]) -> Any:
        try:
            return super().make_context(info_name, list(args), parent, **extra)
        except typer.BadParameter as error:
            if error.ctx is not None and error.param is not None and config_file.is_set(error.ctx, error.param.name):
                error.message = f"{error.message} (set by {config_file.FILE_NAME})"
            raise

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As click does, but an option given again is an error where the last one would silently win."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        given: Counter[Any] = Counter(order)
        for param, times in given.items():
            if times > 1 and not param.multiple and (not param.is_flag or param.secondary_opts):
                raise UsageError(f"{param.opts[0]} is given {times} times, and it takes one value; give it once")
        return super().parse_args(ctx, args)

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
        used = config_file.settings_used(ctx, self.params)
        if used:
            flags = ", ".join(f"--{option} {value}" for option, value in used.items())
            notice(f"{config_file.FILE_NAME} sets {flags}")
        settings_in_use.set(used)
        return super().invoke(ctx)
