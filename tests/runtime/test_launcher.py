"""What a launcher's variables may say, and which one is named where they cannot be believed."""

from __future__ import annotations

import pytest
import torch

from facemae_cli.commands.console import Console
from facemae_cli.errors import UsageError
from facemae_cli.runtime import distributed, launcher, shared_output

NAMES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")
WHOLE = {"WORLD_SIZE": "4", "RANK": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_process_that_nobody_launched_is_alone() -> None:
    assert (launcher.world_size(), launcher.rank(), launcher.check()) == (1, 0, 1)
    assert (launcher.local_rank(), launcher.local_world_size(), launcher.is_launched()) == (None, 1, False)


def test_what_torchrun_says_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {**WHOLE, "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"})
    assert (launcher.world_size(), launcher.rank(), launcher.check()) == (4, 2, 4)
    assert (launcher.local_rank(), launcher.local_world_size(), launcher.is_launched()) == (1, 2, True)


def test_a_rank_without_others_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedulers set RANK for every task; without a WORLD_SIZE it means nothing here."""
    set_all(monkeypatch, {"RANK": "7"})
    assert (launcher.rank(), launcher.check()) == (0, 1)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"WORLD_SIZE": ""}, "WORLD_SIZE=''"),
        ({"WORLD_SIZE": "auto"}, "WORLD_SIZE='auto'"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE='0'"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE='-2'"),
        ({"WORLD_SIZE": "٤"}, "WORLD_SIZE='٤'"),
        ({"WORLD_SIZE": "4"}, "RANK is not set"),
        ({**WHOLE, "RANK": ""}, "RANK is not set"),
        ({**WHOLE, "RANK": "one"}, "RANK='one'"),
        ({**WHOLE, "RANK": "4"}, "RANK=4 is not below WORLD_SIZE=4"),
        ({**WHOLE, "MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
        ({**WHOLE, "MASTER_PORT": ""}, "MASTER_PORT is not set"),
        ({**WHOLE, "MASTER_PORT": "99999"}, "MASTER_PORT='99999'"),
    ],
)
def test_a_variable_that_cannot_be_is_named(wrong: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, wrong)
    with pytest.raises(UsageError, match=named), distributed.process_group(torch.device("cpu")):
        pass
    with pytest.raises(UsageError, match=named), shared_output.process_group("cpu"):
        pass


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": "auto"}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "4"}])
def test_the_console_names_it_before_any_work(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, variables)
    with pytest.raises(UsageError, match="WORLD_SIZE"):
        Console()


@pytest.mark.parametrize("name", ["LOCAL_RANK", "LOCAL_WORLD_SIZE"])
def test_a_local_variable_is_named_as_well(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {name: "x"})
    with pytest.raises(UsageError, match=f"{name}='x'"):
        (launcher.local_rank if name == "LOCAL_RANK" else launcher.local_world_size)()
