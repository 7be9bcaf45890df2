"""`leakage`: what it measures, how it judges, and what it says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.audits import rate_by_looping
from helpers.releases import PEOPLE, PHOTOS, audit, make_release, only_given_attackers, risks, write_faces

from facemae_cli.data.images.codec import decode, encode_png
from facemae_cli.data.open import open_source
from facemae_cli.errors import UsageError
from facemae_cli.evaluation.leakage.attackers import bundled_autoencoders
from facemae_cli.evaluation.leakage.imitation import PROBED
from facemae_cli.inference.recognizer import Recognizer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in."""
    only_given_attackers(monkeypatch)
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "work"))
    return Path.cwd()


def by_looping(original: Path, released: Path, called: dict[tuple[str, str], tuple[str, str]], k: int) -> list[float]:
    """real_to_released by other photos and by the very one, and real_to_real, from names and plain loops."""
    phi = Recognizer.load("phi.onnx", "cpu")
    attack = []
    for path in (original, released):
        source = open_source(path)
        faces = phi.embed(source).features
        names = [(str(source.name(at).identity), source.name(at).photo.partition(".")[0]) for at in range(len(source))]
        attack.append(dict(zip(names, faces, strict=True)))
    real = {called[name]: face for name, face in attack[0].items()}
    gallery = list(attack[1])
    others = [(name[0], face, gallery.index(name)) for name, face in real.items()]
    rates = [
        rate_by_looping(queries, [(name[0], attack[1][name]) for name in gallery], k)[0]
        for queries in (others, [(person, face, -1) for person, face, _ in others])
    ]
    itself = [(name[0], face, at) for at, (name, face) in enumerate(real.items())]
    return [*rates, rate_by_looping(itself, [(name[0], face) for name, face in real.items()], k)[0]]


def test_the_figures_are_those_of_plain_loops_over_recomputed_names(folder: Path) -> None:
    result = audit(k="1,3")
    from facemae_cli.masking.key import Key

    key = Key.load(folder / "facemae.key")
    called = {
        (f"p{person}", str(number)): (key.identity(f"p{person}"), key.photo(f"p{person}", f"{number}.png"))
        for person in range(PEOPLE)
        for number in range(PHOTOS)
    }
    found = risks(result)
    for k in (1, 3):
        expected = by_looping(folder / "raw", folder / "released", called, k)
        rows = [("real_to_released", "other"), ("real_to_released", "same"), ("real_to_real", "other")]
        assert [found[(*row, "phi", k)] for row in rows] == pytest.approx(expected, abs=1e-9)
    assert result.names is not None
    assert (result.names.by, result.names.people, result.names.joined) == ("key", PEOPLE, PEOPLE * PHOTOS)


def test_a_file_of_sources_takes_the_place_of_names_and_counts_every_source(folder: Path) -> None:
    from facemae_cli.masking.key import Key

    key = Key.load(folder / "facemae.key")
    rows = [
        (key.identity(f"p{person}"), key.photo(f"p{person}", f"{number}.png"), f"p{person}", f"{number}.png")
        for person in range(PEOPLE)
        for number in range(PHOTOS)
    ]
    lines = [f"{identity}/{photo},{person},{name}" for identity, photo, person, name in rows]
    table = folder / "sources.csv"
    table.write_text("\n".join(["released,person,photo", *lines]))
    (folder / "facemae.key").rename(folder / "copy.key")
    alone, plain = audit(sources=table, imitations=0), audit(key=folder / "copy.key", imitations=0)
    assert risks(alone) == risks(plain)
    assert any(line.startswith("known members, control") for line in alone.unmeasured)


def test_the_json_has_its_form(folder: Path) -> None:
    result = audit(k="1,2", identities="4,all", trials=2, max_leakage=1.0, max_tpr=0.5)
    value = json.loads(json.dumps(result.as_json()))
    assert set(value) >= {"schema", "attackers", "results", "membership", "verdict"}
    assert value["schema"] == 1
    assert {each["attack"] for each in value["results"]} == {
        "real_to_released", "real_to_real", "imitated_to_released",
    }  # fmt: skip
    keys = {"attack", "photo", "attacker", "k", "identities", "queries", "risk", "interval", "chance", "relative"}
    assert all(set(each) >= keys and each["photo"] in ("other", "same") for each in value["results"])
    names = ["phi", "thumbnail", "thumbnail-correlation", "thumbnail-whitened", "ensemble"]
    assert [each["name"] for each in value["attackers"]] == names
    assert [sum(each["attacker"] == name for each in value["results"]) for name in names] == [2 * 2 * 5] * 5
    assert {each["identities"] for each in value["results"]} == {4, PEOPLE}
    assert set(value["membership"]["tpr_at_fpr"]) == {"0.01", "0.001"}
    phi = Recognizer.load("phi.onnx", "cpu").model.digest
    assert [each["sha256"] for each in value["attackers"]] == [phi, None, None, None, None]
    assert (value["attackers"][0]["card"], value["attackers"][0]["shared_ancestors"]) == ("given", [])
    assert [gate["status"] for gate in value["verdict"]["gates"]] == ["passed", "undecided", "passed"]
    assert value["digests"].keys() == {"original", "released", "model of the release"}
    heads, *rows = result.measured()
    shown = {row[0].partition(", K = ")[0] for row in rows if not row[0].startswith("  ")}
    top = dict(value["headline"])["attacker"]
    assert shown == {*names, "chance", "photos that asked", f"{top} at"}  # the last: below it, its other sizes
    assert all(len(row) == len(heads) for row in rows)
    assert dict(result.summary())["verdict"] == "undecided"


def test_no_raw_name_is_in_what_a_page_may_show(folder: Path) -> None:
    result = audit(show_faces=False)
    shown = json.dumps([[each.as_json() for each in result.exposed], result.unmeasured, result.verdict.as_json()])
    assert len(result.exposed) == PEOPLE
    assert re.search(r"\bp\d\b", shown) is None


def test_equal_runs_give_equal_results_with_a_cache_and_without(folder: Path) -> None:
    options = {"identities": "5,all", "trials": 2, "adapt": write_faces(folder / "own", range(20, 40), 1)}
    first = audit(**options).as_json()
    for _ in range(2):
        assert audit(**options, cache=folder / "cache").as_json() == first
    assert audit(**(options | {"seed": 1})).as_json() != first


def test_an_audit_decodes_each_original_release_and_imitation_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, decoder = [], cv2.imdecode

    def counted(*given: object) -> object:
        decoded.append(1)
        return decoder(*given)  # type: ignore[call-overload]

    monkeypatch.setattr(cv2, "imdecode", counted)
    result = audit()
    assert {each.attack for each in result.findings} >= {"real_to_released", "imitated_to_released"}
    probed = PEOPLE * PHOTOS  # photos tried under transforms
    assert len(decoded) <= 3 * PEOPLE * PHOTOS + probed + PROBED


def test_a_masked_release_is_attacked_as_it_looks_and_imitated_by_masking(folder: Path) -> None:
    result = audit(released=folder / "masked", imitation_model=None, allow_shared_ancestor=False)
    assert {each.model for each in result.findings} == {None, "mask"}
    by = [model.name for model in bundled_autoencoders()]
    assert "facemae-v1" in by
    names = {each.name for each in result.attackers}
    assert {f"{name} on what {model} makes of it" for name in ("phi", "thumbnail", "ensemble") for model in by} <= names
    assert any("since whoever holds it can reconstruct it" in line for line in result.notices)
    assert result.attackers[0].shared == ()
    assert result.refused == []


def test_constant_embeddings_give_chance(folder: Path) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(folder / "phi.onnx")
    kernel = model.graph.initializer[0]
    flat = np.abs(numpy_helper.to_array(kernel)) * 0
    # The same weight for every pixel, channel and place, after a bias of nothing: only length differs, and is lost.
    kernel.CopyFrom(numpy_helper.from_array(flat + np.float32(0.01), kernel.name))
    model.graph.node[0].op_type = "Conv"
    onnx.save(model, folder / "phi.onnx")
    bright = [path for side in ("raw", "released") for path in (folder / side).rglob("*.[pj][np]g")]
    for path in bright:  # so that ReLU passes all: one direction for every face
        path.write_bytes(encode_png(decode(path.read_bytes()) // 4 + 180))
    result = audit(imitations=0)
    by_phi = [each for each in result.findings if each.attacker == "phi"]
    for each in by_phi:
        assert each.risk == pytest.approx(each.chance)
        assert each.risk < 1
    assert len(by_phi) == 3
    memberships = [found.membership.auc for found in result.memberships if found.attacker == "phi"]
    assert memberships == [0.5] * len(memberships)
    assert memberships


def test_an_attacker_of_the_same_lineage_is_named_and_carries_no_verdict_alone(folder: Path) -> None:
    alone = audit(attacker=["phi2.onnx"], max_leakage=1.0)
    assert alone.verdict.status == "refused"
    assert "shares an ancestor" in alone.failed_gates[0]
    assert any("blind to what that model hides" in line for line in alone.notices)
    assert alone.attackers[0].shared == (Recognizer.load("phi2.onnx", "cpu").model.digest,)
    kept = {"cache": folder / "cache", "imitations": 0, "trials": 1}
    assert audit(attacker=["phi2.onnx"], max_leakage=1.0, allow_shared_ancestor=True, **kept).failed_gates == []
    assert audit(attacker=["phi2.onnx", "phi.onnx"], max_leakage=1.0, **kept).failed_gates == []
    assert audit(attacker=["phi2.onnx"], **kept).failed_gates == []


def test_an_adapted_attacker_is_an_attacker_of_its_own(folder: Path) -> None:
    result = audit(adapt=write_faces(folder / "own", range(20, 44), 1))
    names = ["phi", "thumbnail", "thumbnail-correlation", "thumbnail-whitened", "ensemble"]
    assert [each.name for each in result.attackers] == [*names, *(f"{name}+adapted" for name in names)]
    adapted = result.attackers[5].adapted
    assert adapted is not None
    assert (adapted.faces, adapted.model) == (24, "mae")
    assert ("real_to_released", "other", "phi+adapted", 2) in risks(result)
    unimitated = audit(adapt=folder / "own", imitations=0)
    assert [each.adapted for each in unimitated.attackers] == [each.adapted for each in result.attackers]
    assert {each.model for each in unimitated.findings} == {None}
    (folder / "released" / "facemae.json").unlink()
    with pytest.raises(UsageError, match="no model of it is known: use --imitation-model"):
        audit(adapt=folder / "own", imitation_model=None)


def test_a_report_is_its_owner_s_names_nobody_and_shows_faces_only_where_asked(folder: Path) -> None:
    report = folder / "audit.html"
    assert audit(report=report).report == report
    page = report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600
    assert re.search(r"\bp\d\b", page) is None
    assert "data:image" not in page
    with pytest.raises(UsageError, match="--overwrite to replace it"):
        audit(report=report)
    result = audit(report=report, show_faces=True, overwrite=True)
    assert "data:image" in report.read_text()
    assert len(result.triplets) == len(result.exposed) == PEOPLE
    first = result.triplets[0]
    assert all(decode(image).shape == (112, 112, 3) for image in (first.real, first.own or b"", first.nearest))
    assert audit().triplets == []
