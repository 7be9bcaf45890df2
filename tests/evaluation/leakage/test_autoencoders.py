"""Which models an audit reconstructs faces with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.models import write_mae
from helpers.sources import memory_source

from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import UsageError
from facemae_cli.evaluation.leakage.attackers import Origin, bundled_autoencoders
from facemae_cli.evaluation.leakage.autoencoders import Autoencoders
from facemae_cli.evaluation.leakage.datasets import Datasets
from facemae_cli.networks.card import Model
from facemae_cli.networks.zoo import resolve

MIXED = {"mixing": {"people": 3, "copies": 3, "warp": 1.0}}
UNKNOWN = Origin(None, None, True)


@pytest.fixture(scope="module")
def mae(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return resolve(str(write_mae(tmp_path_factory.mktemp("models") / "mae")), "mae")


def datasets(command: str = "reconstruct", own: int = 0, **extra: object) -> Datasets:
    """Two people's photos and their release; `own` people whom the attacker brings."""
    faces, adapt = memory_source(2, 1), memory_source(own, 1) if own else None
    return Datasets(faces, faces, None, adapt, Manifest(command, extra=extra), command == "mask")


def using(*given: Model) -> Autoencoders:
    return Autoencoders(given, "fp32", torch.device("cpu"))


def names(given: Autoencoders, origin: Origin, data: Datasets) -> list[str]:
    imitators, why_none = given.imitators(origin, data, 1)
    assert (why_none is None) == bool(imitators)
    return [each.name for each in imitators]


def test_what_is_given_imitates_before_the_releases_own_model(mae: Model) -> None:
    own = bundled_autoencoders()[0]
    origin = Origin(own.digest, own, True)
    assert names(using(mae), origin, datasets()) == ["mae"]
    assert names(using(), origin, datasets()) == [own.name]
    assert names(using(), UNKNOWN, datasets("mask")) == ["mask"]
    assert using().imitators(origin, datasets(), 0) == ([], None)


def test_a_given_model_that_would_do_nothing_is_refused(mae: Model) -> None:
    own, other = bundled_autoencoders()[:2]
    for idle in (own, mae):
        with pytest.raises(UsageError, match=rf"--imitation-model {idle.name} would do nothing, .* --imitations 0"):
            using(idle).imitators(Origin(own.digest, own, True), datasets(), 0)
    with pytest.raises(UsageError, match=f"--imitation-model {other.name} would do nothing"):
        using(mae, other).imitators(UNKNOWN, datasets(own=4), 0)


def test_without_imitations_a_model_adapts_rebuilds_or_tells_of_ancestors(mae: Model) -> None:
    assert using(mae).imitators(UNKNOWN, datasets(own=4), 0) == ([], None)
    assert using(mae).imitators(UNKNOWN, datasets("mask"), 0) == ([], None)
    assert using(mae).imitators(Origin(mae.digest, mae, True), datasets(), 0) == ([], None)


def test_models_that_are_called_alike_are_refused(mae: Model, tmp_path: Path) -> None:
    namesake = resolve(str(write_mae(tmp_path / "mae", seed=1)), "mae")
    for second in (mae, namesake):
        with pytest.raises(UsageError, match="--imitation-model mae: 2 are called so"):
            using(mae, second).imitators(UNKNOWN, datasets(), 1)


def test_nothing_imitates_where_no_model_is_known_or_faces_are_mixed(mae: Model) -> None:
    for sha256, why in ((None, "no model of it is known"), ("0" * 64, "its model is not bundled")):
        found = using().imitators(Origin(sha256, None, True), datasets(), 1)
        assert found == ([], f"{why}: use --imitation-model")
    found, why_none = using(mae).imitators(UNKNOWN, datasets(**MIXED), 1)
    assert (found, why_none and why_none.partition(",")[0]) == ([], "its faces are mixed")


def test_an_attackers_own_faces_are_made_as_the_release_was(mae: Model) -> None:
    assert using(mae).adapter(UNKNOWN, datasets()) is None
    adapter = using(mae).adapter(UNKNOWN, datasets(own=4, **MIXED))
    assert adapter is not None
    assert (adapter.name, adapter.mixing and adapter.mixing.people) == ("mae", 3)
    with pytest.raises(UsageError, match=r"--adapt memory needs .* no model of it is known: use --imitation-model"):
        using().adapter(UNKNOWN, datasets(own=4))
    with pytest.raises(UsageError, match="--adapt memory: "):  # two people cannot be mixed by threes
        using(mae).adapter(UNKNOWN, datasets(own=2, **MIXED))


def test_anybody_reconstructs_masked_faces_with_each_model_once(mae: Model) -> None:
    first, *others = bundled_autoencoders()
    rebuilders = using(mae, first).rebuilders(datasets("mask"))
    assert [each.name for each in rebuilders] == [first.name, *(each.name for each in others), "mae"]
    assert all(each.recipe is None for each in rebuilders)  # the faces are masked already
    assert using(mae).rebuilders(datasets("reconstruct")) == []
