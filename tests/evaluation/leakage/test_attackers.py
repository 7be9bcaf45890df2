"""Which attackers a verdict may rest on: strong ones with a card, that share no ancestor with the release's model."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from helpers.models import write_embedder, write_mae

from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import UsageError
from facemae_cli.evaluation.leakage import attackers as module
from facemae_cli.evaluation.leakage.attackers import Origin, Trust, describe, load_attackers, warning_lines
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.card import Model, ancestors
from facemae_cli.networks.zoo import EMBEDDER, UNTAUGHT_EMBEDDER, resolve


@pytest.fixture(autouse=True)
def nothing_is_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "names", list)


@pytest.fixture(scope="module")
def phi(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return Recognizer.load(str(write_embedder(tmp_path_factory.mktemp("phi") / "phi.onnx")), "cpu")


def made_by(model: Model | None, sha256: str | None = None) -> Manifest:
    digest = sha256 or (model.digest if model else None)
    return Manifest(command="reconstruct", model={"kind": "mae", "sha256": digest} if digest else None)


def barred(phi: Recognizer, origin: Origin, strength: float | None = 0.9, allow_shared_ancestor: bool = False) -> str:
    made = describe("phi", phi, strength, Trust(origin, 0.6, allow_shared_ancestor))
    return "; ".join(made.barred)


def fitted(folder: Path, lineage: list[str]) -> Model:
    return resolve(str(write_mae(folder, lineage=lineage)), "mae")


def test_an_attacker_that_taught_the_release_s_model_carries_no_verdict(tmp_path: Path, phi: Recognizer) -> None:
    model = fitted(tmp_path / "mae", [str(phi.model.digest)])
    origin = Origin.of(made_by(model), [model])
    assert origin.model == model
    assert origin.shared(phi.model) == (phi.model.digest,)
    assert "shares an ancestor" in barred(phi, origin)
    assert barred(phi, origin, allow_shared_ancestor=True) == ""
    assert any("blind to what that model hides" in line for line in warning_lines("phi", phi, origin))


def test_a_common_teacher_is_a_shared_ancestor(tmp_path: Path) -> None:
    path = write_embedder(tmp_path / "pupil.onnx")
    card = yaml.safe_load(path.with_suffix(".yaml").read_text())
    path.with_suffix(".yaml").write_text(yaml.safe_dump(card | {"lineage": ["ab" * 32]}))
    pupil = Recognizer.load(str(path), "cpu")
    model = fitted(tmp_path / "mae", ["cd" * 32, "ab" * 32])
    assert Origin.of(made_by(model), [model]).shared(pupil.model) == ("ab" * 32,)
    assert Origin.of(made_by(model), [fitted(tmp_path / "other", [])]).shared(pupil.model) == ()


def test_an_attacker_of_its_own_is_free(tmp_path: Path, phi: Recognizer) -> None:
    model = fitted(tmp_path / "mae", ["cd" * 32])
    origin = Origin.of(made_by(model), [model])
    assert (origin.shared(phi.model), barred(phi, origin)) == ((), "")
    assert list(warning_lines("phi", phi, origin)) == []


def test_where_the_release_s_model_is_not_found_independence_is_not_known(phi: Recognizer) -> None:
    origin = Origin.of(made_by(None, "ef" * 32), [])
    assert origin.shared(phi.model) is None
    assert "use --imitation-model" in barred(phi, origin)
    assert barred(phi, origin, allow_shared_ancestor=True) == ""
    itself = Origin.of(made_by(None, str(phi.model.digest)), [])
    assert itself.shared(phi.model) == (phi.model.digest,)


def test_a_release_that_no_model_drew_shares_nothing_and_one_without_manifest_is_not_known(phi: Recognizer) -> None:
    masked = Origin.of(Manifest(command="mask"), [])
    assert (masked.shared(phi.model), barred(phi, masked)) == ((), "")
    unknown = Origin.of(None, [])
    assert (unknown.shared(phi.model), barred(phi, unknown)) == (None, "")
    assert "it has no facemae.json" in next(iter(warning_lines("phi", phi, unknown)))


def test_weak_attackers_and_assumed_cards_carry_no_verdict(tmp_path: Path, phi: Recognizer) -> None:
    masked = Origin.of(Manifest(command="mask"), [])
    assert barred(phi, masked, 0.6) == ""
    assert "is weak: real -> real is 59.0 %, under --min-attacker 60 %" in barred(phi, masked, 0.59)
    assert "could not be measured" in barred(phi, masked, None)
    trust = Trust(masked, 0.0, False)
    assert describe("phi", phi, 0.9, trust, unseen=0.01).barred == ()
    blind = "gives no feature for 1.1 % of the faces, over 1.0 %"
    assert describe("phi", phi, 0.9, trust, unseen=0.011).barred == (blind,)
    path = write_embedder(tmp_path / "bare.onnx")
    path.with_suffix(".yaml").unlink()
    bare = Recognizer.load(str(path), "cpu")
    assert "its card was assumed" in barred(bare, masked)
    assert describe("phi", bare, 0.9, Trust(masked, 0.0, True)).card == "assumed"


def test_a_bundled_model_is_found_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(tmp_path / "mae", [])
    empty = write_mae(tmp_path / "empty", weights=False)
    monkeypatch.setattr(module, "names", lambda: [str(empty), str(tmp_path / "mae")])
    assert Origin.of(made_by(model), []).model == model


def test_attackers_are_called_by_their_models(tmp_path: Path) -> None:
    for folder, seed in (("x", 0), ("y", 1)):
        (tmp_path / folder).mkdir()
        write_embedder(tmp_path / folder / "phi.onnx", seed=seed)
    write_embedder(tmp_path / "psi.onnx", seed=2)
    paths = [str(tmp_path / name) for name in ("x/phi.onnx", "psi.onnx", "y/phi.onnx")]
    names = list(load_attackers(paths, "cpu", "fp32"))[len(module.ATTACKERS) :]
    assert names[1] == "psi"
    assert [name.split()[0] for name in names] == ["phi", "psi", "phi"]
    assert names[0] != names[2]
    with pytest.raises(UsageError, match="the same embedder is given twice"):
        load_attackers([paths[0], paths[0]], "cpu", "fp32")


def test_the_bundled_ones_always_attack_and_one_had_no_teacher() -> None:
    found = load_attackers(None, "cpu", "fp32")
    assert list(found) == [EMBEDDER, UNTAUGHT_EMBEDDER]
    assert list(load_attackers([EMBEDDER], "cpu", "fp32")) == [
        UNTAUGHT_EMBEDDER,
        EMBEDDER,
    ]
    assert [bool(ancestors(each.model) - {each.model.digest}) for each in found.values()] == [True, False]
