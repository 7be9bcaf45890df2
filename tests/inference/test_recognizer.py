"""A recogniser ready to embed, and what a result says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.models import write_embedder, write_mae
from helpers.sources import memory_source

from facemae_cli.errors import UsageError
from facemae_cli.inference.embed import embed
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.architectures.iresnet import IResNet


def test_it_embeds_as_its_card_says_and_tells_how(tmp_path: Path) -> None:
    ready = Recognizer.load(str(write_embedder(tmp_path / "phi.onnx")))
    source = memory_source(2, 1)
    plain = embed(source, ready.embedder, device=torch.device("cpu"), precision="fp32")
    np.testing.assert_array_equal(ready.embed(source).features, plain.features)
    assert str(ready) == "on cpu in fp32 by onnxruntime"
    assert ready.as_json() == {
        "model": "phi",
        "model_sha256": ready.model.digest,
        "card": "given",
        "device": "cpu",
        "precision": "fp32",
        "runtime": "onnxruntime",
    }
    assert list(ready.notices()) == []


def test_what_a_person_should_know_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facemae_cli.inference.recognizer.has_fast_bf16", lambda device: False)
    write_embedder(tmp_path / "phi.onnx").with_suffix(".yaml").unlink()
    ready = Recognizer.load(str(tmp_path / "phi.onnx"), "cpu", "bf16")
    assumed, slow = ready.notices()
    assert "has no card" in assumed
    assert slow == "bf16 is emulated on this cpu, many times slower than --precision fp32"
    assert (ready.card, ready.runtime) == ("assumed", "torch")


def test_its_digest_tells_weights_and_architecture(tmp_path: Path) -> None:
    torch.save(IResNet((1, 1, 1, 1), dim=8, width=4, size=112).state_dict(), tmp_path / "b.pth")
    bare = Recognizer.load(str(tmp_path / "b.pth"))
    card = {"kind": "embedder", "input": {"size": 112, "color": "rgb", "mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "b.yaml").write_text(yaml.safe_dump({**card, "architecture": {"network": "iresnet"}}))
    carded = Recognizer.load(str(tmp_path / "b.pth"))
    assert bare.model.digest == carded.model.digest
    assert bare.digest != carded.digest
    assert carded.digest == Recognizer.load(str(tmp_path / "b.pth")).digest


def test_an_autoencoder_embeds_nobody(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="kind mae"):
        Recognizer.load(str(write_mae(tmp_path / "mae")))
