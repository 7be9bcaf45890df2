"""State dicts in every wrapping, and files that hold none."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from facemae_cli.errors import InputError
from facemae_cli.networks.weights import check_state, read_state

State = dict[str, Tensor]


def state() -> State:
    return {
        "conv1.weight": torch.arange(6.0).view(1, 1, 2, 3),
        "layer1.0.bn1.running_var": torch.tensor([2.0]),
        "layer1.0.bn1.num_batches_tracked": torch.tensor(3),
    }


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_state(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "ordered": OrderedDict,
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "insightface": lambda state: {
        "epoch": 3,
        "global_step": 9,
        "state_dict_backbone": state,
        "state_dict_softmax_fc": {},
    },
    "both": lambda state: {"model": {"state_dict": {f"module.backbone.{k}": v for k, v in state.items()}}},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_state_is_read_out_of_every_wrapping(tmp_path: Path, wrapping: str) -> None:
    torch.save(WRAPPINGS[wrapping](state()), tmp_path / "w.pth")
    read = read_state(tmp_path / "w.pth")
    assert read.keys() == state().keys()
    assert all(torch.equal(read[key], value) for key, value in state().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_safetensors_are_read_as_they_are(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file({"a": torch.ones(2, dtype=dtype)}, tmp_path / "w.safetensors")
    read = read_state(tmp_path / "w.safetensors")
    assert read["a"].dtype == dtype
    assert read["a"].tolist() == [1, 1]


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(Hostile()), pickle.dumps({"state_dict": Hostile()}), b"", b"no weights", b"PK\x03\x04" + bytes(40)],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_pth_that_is_no_plain_state_dict_is_refused_and_not_run(
    tmp_path: Path, content: bytes, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    assert "safe to read" in refusal(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [{}, {"a": 1}, [torch.zeros(1)], torch.zeros(1), {"state_dict": {}}])
def test_a_pth_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    assert "holds no state dict" in refusal(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64, b"\x10" + bytes(7) + b'{"a":{"dtype"}}  '])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    assert "not a safetensors file" in refusal(tmp_path / "w.safetensors")


def network() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(OrderedDict(fc=nn.Linear(2, 3), bn=nn.BatchNorm1d(3)))


def given() -> State:
    return {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in network().state_dict().items()}


def test_the_right_names_and_shapes_pass_in_half_precision_and_without_counts() -> None:
    whole = given()
    check_state(network(), whole, Path("w"))
    halves = {key: value.half() for key, value in whole.items() if not key.endswith("num_batches_tracked")}
    check_state(network(), halves, Path("w"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"bn.bias": None}, "lacks 1 tensors, such as bn.bias"),
        ({"extra": torch.zeros(1)}, "unknown 1 tensors, such as extra"),
        ({"fc.weight": torch.zeros(3, 3)}, r"fc.weight has the shape \(3, 3\), its architecture wants \(3, 2\)"),
        ({"fc.bias": torch.zeros(3, dtype=torch.int64)}, "fc.bias holds torch.int64"),
        (
            {"fc.weight": torch.zeros(1).expand(3, 2)},
            r"fc.weight has fewer numbers in the file than its shape \(3, 2\)",
        ),
    ],
)
def test_any_other_name_shape_or_type_is_refused(change: dict[str, Tensor | None], named: str) -> None:
    state = {key: value for key, value in (given() | change).items() if value is not None}
    with pytest.raises(InputError, match=named):
        check_state(network(), state, Path("w"))


def test_a_header_that_torch_cannot_follow(tmp_path: Path) -> None:
    header = b'{"a": {"dtype": "F32", "shape": [0, 18446744073709551612], "data_offsets": [0, 0]}}'
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "not a safetensors file" in refusal(tmp_path / "w.safetensors")


def test_a_tensor_whose_name_has_two_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has unknown 1 tensors, such as a\\nb; ") as caught:
        check_state(nn.Identity(), {"a\nb": torch.zeros(1)}, tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_an_archive_that_unpacks_to_far_more_is_refused_by_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch would unpack gigabytes before it finds out; it stores tensors as they are."""
    torch.save(state(), tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "bomb.pth", "w", 8) as bomb:
        for entry in plain.namelist():
            bomb.writestr(entry, plain.read(entry))
        bomb.writestr("plain/data/99", bytes(2**22))
    assert read_state(tmp_path / "plain.pth").keys() == state().keys()
    monkeypatch.setattr(torch, "load", None)  # is never asked
    assert "torch compresses nothing" in refusal(tmp_path / "bomb.pth")


@pytest.mark.parametrize("name", ["x.pth", "x.ckpt", "x.pth.tar", "x.safetensors"])
def test_a_pointer_in_the_place_of_weights_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    assert "it is a Git LFS pointer" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["x.ckpt", "x.pth.tar"])
def test_other_names_of_the_same_files_are_read_by_their_content(tmp_path: Path, name: str) -> None:
    torch.save({"state_dict": state(), "epoch": 3}, tmp_path / name)
    assert read_state(tmp_path / name).keys() == state().keys()
    save_file(state(), tmp_path / name)
    assert read_state(tmp_path / name).keys() == state().keys()
