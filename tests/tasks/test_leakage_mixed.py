"""Audits of mixed releases: whoever adapts mixes as the release was mixed, and what cannot be imitated is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest
from helpers.releases import COPIES, PHOTOS, audit, make_mixed_release, only_given_attackers, write_faces

from facemae_cli.errors import UsageError
from facemae_cli.evaluation.leakage import views
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult

NAMES = ["phi", "thumbnail", "thumbnail-correlation", "thumbnail-whitened", "ensemble"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mixed_release(tmp_path_factory.mktemp("mixed"))


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    only_given_attackers(monkeypatch)
    monkeypatch.chdir(made)
    return made


def mixed_audit(**options: object) -> LeakageResult:
    return audit(**({"sources": "whom.csv", "adapt": "own"} | options))


@pytest.fixture(scope="module")
def audited(made: Path) -> tuple[LeakageResult, list[tuple[Any, ...]]]:
    """An audit of the release, and what each of its attackers learnt from."""
    taught, learn = [], views.learn
    with pytest.MonkeyPatch.context() as patch:
        only_given_attackers(patch)
        patch.chdir(made)
        patch.setattr(views, "learn", lambda *given: taught.append(given) or learn(*given))
        return mixed_audit(), taught


def test_whoever_adapts_learns_from_mixtures_of_his_own_people(
    audited: tuple[LeakageResult, list[tuple[Any, ...]]],
) -> None:
    result, taught = audited
    assert [each.name for each in result.attackers] == [*NAMES, *(f"{name}+adapted" for name in NAMES)]
    real, reconstructed, people, photos = taught[0]
    assert (len(real.valid), len(reconstructed.valid)) == (6 * PHOTOS, COPIES * 6 * PHOTOS)
    assert reconstructed.valid.all()
    assert photos.shape == (COPIES * 6 * PHOTOS, 2)
    assert (people[photos[:, 0]] != people[photos[:, 1]]).all()
    adapted = result.attackers[5].adapted
    assert adapted is not None
    assert (adapted.faces, adapted.model) == (6 * PHOTOS, "mae")
    for name in ("phi+adapted", "ensemble+adapted"):
        assert {each.photo for each in result.findings if each.attacker == name} == {"other", "same"}


def test_mixtures_that_show_people_to_be_found_teach_nothing(folder: Path, tmp_path: Path) -> None:
    own = shutil.copytree("own", tmp_path / "own")
    shutil.copytree("raw/p1", own / "someone")
    taught, learn = [], views.learn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "learn", lambda *given: taught.append(given) or learn(*given))
        result = mixed_audit(adapt=own)
    assert any(line.startswith("1 people of --adapt are left out") for line in result.notices)
    real, reconstructed, people, photos = taught[0]
    (known,) = {person for person in people.tolist() if not real.valid[people == person].any()}
    shows = (people[photos] == known).any(axis=1)
    assert shows.sum() == 2 * COPIES * PHOTOS
    assert (reconstructed.valid == ~shows).all()


def test_equal_audits_are_equal_with_a_cache_and_without(
    folder: Path, tmp_path: Path, audited: tuple[LeakageResult, list[tuple[Any, ...]]]
) -> None:
    for _ in range(2):
        assert mixed_audit(cache=tmp_path / "cache").as_json() == audited[0].as_json()


def test_what_cannot_be_imitated_is_said_in_a_line(folder: Path) -> None:
    result = mixed_audit(adapt=None)
    why = "its faces are mixed, and whoever asks does not know with whom their photos were"
    assert [line for line in result.notices if "imitated" in line] == [f"the release is not imitated: {why}"]
    assert f"imitations of the release: {why}" in result.unmeasured
    assert {each.attack for each in result.findings} == {"real_to_released", "real_to_real"}
    assert not any("imitated" in line for line in mixed_audit(adapt=None, imitations=0).notices)


def test_where_it_is_not_known_how_people_were_mixed_that_is_said(folder: Path, tmp_path: Path) -> None:
    released = shutil.copytree("released", tmp_path / "released")
    manifest = json.loads((released / "facemae.json").read_text())
    del manifest["extra"]["mixing"]
    (released / "facemae.json").write_text(json.dumps(manifest))
    said = [line for line in mixed_audit(released=released).notices if "mixed" in line]
    why = "how people were mixed in the release is not known: attackers imitate it, and learn, by faces of one person"
    assert said == [f"{why} each"]


def test_a_masked_mixture_is_attacked_as_anybody_reconstructs_it_and_adapted_to_as_it_looks(folder: Path) -> None:
    result = mixed_audit(released="masked", allow_shared_ancestor=True, imitation_model=None)
    adapted = next(each.adapted for each in result.attackers if each.name == "phi+adapted")
    assert adapted is not None
    assert adapted.model == "mask"
    assert any(each.name == "phi on what mae-v1 makes of it" for each in result.attackers)


def test_people_who_are_too_few_to_mix_are_refused_before_anybody_looks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = write_faces(tmp_path / "few", range(2), 10)
    loose = tmp_path / "loose"
    loose.mkdir()
    for at, face in enumerate(sorted(few.rglob("*.png"))):
        shutil.copy(face, loose / f"{at}.png")
    monkeypatch.setattr(views, "see_dataset", None)
    with pytest.raises(UsageError, match=r"--adapt .*few: 2 people are too few to mix 2 of them: it takes 3"):
        mixed_audit(adapt=few)
    with pytest.raises(UsageError, match=r"--adapt .*loose: faces without a person cannot be mixed"):
        mixed_audit(adapt=loose)


def test_faces_of_several_sizes_are_refused_with_their_place(folder: Path, tmp_path: Path) -> None:
    own = shutil.copytree("own", tmp_path / "own")
    for face in write_faces(tmp_path / "more", range(70, 72)).rglob("*.png"):
        place = own / face.parent.name
        place.mkdir(exist_ok=True)
        cv2.imwrite(str(place / face.name), cv2.resize(cv2.imread(str(face)), (224, 224)))
    with pytest.raises(UsageError, match=r"--adapt .*own: faces of 2 sizes \(112x112, 224x224\) cannot be mixed"):
        mixed_audit(adapt=own)
