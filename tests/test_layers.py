"""The house rules, one test a sentence."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "facemae_cli"
# The rooms of the house, from the top: each may import from those below it, and from itself.
ROOMS = (
    "__main__",
    "app",
    "commands",
    "tasks",
    "training",
    "evaluation",
    "inference",
    "networks",
    "masking",
    "data",
    "runtime",
    "errors",
    "__init__",
)
# What shows results to people stands beside the rooms that make them: those from evaluation on upwards may import it.
REPORTS_MAY_IMPORT = {"data", "runtime", "errors", "__init__", "reports"}
REPORTS_SERVE = ROOMS[: ROOMS.index("evaluation") + 1]
# The side that talks to a person; of it, the console and the terminal alone print.
TALKING = {"__main__", "app", "commands"}
PRINTING = ("facemae_cli.commands.console", "facemae_cli.commands.terminal")
SHARED_BY_COMMANDS = {
    "command",
    "config_file",
    "console",
    "help",
    "options",
    "places",
    "precheck",
    "progress_bar",
    "terminal",
}
FILE_LINES, BODY_LINES = 400, 40


def module_name(path: Path) -> str:
    """facemae_cli/data/rec.py -> facemae_cli.data.recordio.source; a package's __init__ is the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def part(module: str) -> str:
    """The piece of the house a module belongs to: its first name below facemae_cli."""
    return module.split(".")[1] if "." in module else "__init__"


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def imports(module: str) -> Iterator[str]:
    """All that `module` imports, wherever in it the import stands."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
            source = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield whole if whole in MODULES else str(source)


def own_imports(module: str) -> Iterator[str]:
    return (name for name in imports(module) if name.split(".")[0] == "facemae_cli")


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code: a command's options and a docstring do not count."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def uses(module: str, *names: str) -> list[str]:
    """Where `module` mentions one of `names`, plain (`print`) or dotted (`sys.stdout`)."""
    return [
        f"{module}:{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in names
    ]


LIBRARY = [module for module in MODULES if part(module) not in TALKING]


def rooms_below(room: str) -> set[str]:
    """The rooms that `room` may import from."""
    if room == "reports":
        return REPORTS_MAY_IMPORT
    return set(ROOMS[ROOMS.index(room) :]) | ({"reports"} if room in REPORTS_SERVE else set())


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    for name in own_imports(module):
        assert part(name) in rooms_below(part(module)), f"{module} imports {name}, which stands above it"


def test_every_room_is_in_the_order() -> None:
    assert {*ROOMS, "reports"} == {part(module) for module in MODULES}


def test_the_top_of_the_package_is_seen_at_a_glance() -> None:
    entries = {path.name for path in PACKAGE.iterdir()} - {"__init__.py", "__main__.py", "__pycache__"}
    assert len(entries) <= 14, sorted(entries)


def test_every_room_says_what_lives_there() -> None:
    for module, path in MODULES.items():
        if path.name == "__init__.py":
            assert (ast.get_docstring(tree(module)) or "").strip(), f"{path} has no docstring"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: {name for name in own_imports(module) if name != module} for module in MODULES}
    while leaves := {module for module, below in graph.items() if not below & graph.keys()}:
        graph = {module: below for module, below in graph.items() if module not in leaves}
    assert sorted(graph) == []


def shared(module: str) -> bool:
    return module.rpartition(".")[2] in SHARED_BY_COMMANDS


def test_commands_do_not_import_each_other_and_tasks_neither() -> None:
    for module in MODULES:
        if part(module) in ("commands", "tasks") and module.count(".") == 2 and not shared(module):
            siblings = {name for name in own_imports(module) if part(name) == part(module)}
            assert all(map(shared, siblings)), module


def test_a_command_is_one_function_of_its_module_s_name_and_knows_no_task() -> None:
    for module in MODULES:
        if part(module) == "commands" and module.count(".") == 2 and not shared(module):
            assert [function.name for function in functions(module)] == [module.rpartition(".")[2]]
            assert {name for name in own_imports(module) if part(name) == "tasks"} == set()


def test_the_library_never_prints_and_never_exits() -> None:
    found = [
        uses(m, "print", "sys.stdout", "sys.stderr", "exit", "quit", "SystemExit", "sys.exit", "os._exit")
        for m in LIBRARY
    ]
    assert [use for each in found for use in each] == []


def test_only_the_console_and_the_terminal_print() -> None:
    talking = [module for module in MODULES if module not in (*LIBRARY, *PRINTING)]
    found = [uses(m, "print", "sys.stdout", "sys.stderr", "typer.echo", "typer.secho") for m in talking]
    assert [use for each in found for use in each] == []


def test_the_library_never_imports_typer_or_rich() -> None:
    for module in LIBRARY:
        assert {name.split(".")[0] for name in imports(module)}.isdisjoint({"typer", "click", "rich"}), module


def test_yaml_is_read_by_one_module() -> None:
    assert [m for m in MODULES if uses(m, "yaml.load", "yaml.safe_load")] == ["facemae_cli.data.safe_yaml"]


def loaded_after(code: str) -> set[str]:
    """The modules a fresh interpreter holds after running `code`."""
    script = f"import sys\n{code}\nprint('modules:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_data_masking_and_keys_never_load_torch() -> None:
    free = [module for module in MODULES if part(module) in ("data", "masking")]
    loaded = loaded_after(f"import {', '.join(free)}")
    assert set(free) <= loaded
    assert "torch" not in loaded


HEAVY = {"torch", "numpy", "cv2", "timm", "onnxruntime", "matplotlib", "scipy", "faiss", "PIL"}


@pytest.mark.parametrize("words", [["--help"], ["mask", "--help"], ["fit", "--help"], ["reconstruct", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    loaded = loaded_after(f"from facemae_cli.app import main\nassert main({words!r}) == 0")
    assert "facemae_cli.commands.mask" in loaded
    assert loaded.isdisjoint(HEAVY), loaded & HEAVY


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import facemae_cli").isdisjoint(HEAVY | {"typer", "rich", "yaml"})


@pytest.mark.parametrize("folder", ["facemae_cli", "tests"])
def test_files_are_short(folder: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (PACKAGE.parent / folder).rglob("*.py")}
    assert {str(path): count for path, count in lengths.items() if count > FILE_LINES} == {}


def test_functions_are_short() -> None:
    counts = {f"{m}:{f.lineno} {f.name}": body_lines(f) for m in MODULES for f in functions(m)}
    assert {name: count for name, count in counts.items() if count > BODY_LINES} == {}
    assert statistics.median(counts.values()) <= 12


def test_modules_classes_and_functions_say_what_they_are() -> None:
    for module in MODULES:
        assert ast.get_docstring(tree(module)), module
        for node in tree(module).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{module}: {node.name}"
