"""Releases that give people away in ways of their own, and what the audit's verdict on them is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.models import write_embedder
from helpers.releases import only_given_attackers, photo, write_faces

from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.evaluation import retrieval
from facemae_cli.evaluation.leakage import see_through
from facemae_cli.evaluation.leakage.identification import Plan
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.transforms import TRANSFORMS
from facemae_cli.tasks.leakage import leakage

PEOPLE, PHOTOS = 20, 2

Made = Callable[[int, int], tuple[int, bytes]]  # of person and photo: under whose name, and the image


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(see_through, "PROBED", 8)  # of 40 photos: most of an audit's time here goes there
    only_given_attackers(monkeypatch)
    write_embedder(tmp_path / "phi.onnx", dim=16)
    for person in range(PEOPLE):
        (tmp_path / "raw" / f"p{person}").mkdir(parents=True)
        for number in range(PHOTOS):
            (tmp_path / "raw" / f"p{person}" / f"{number}.png").write_bytes(encode_png(photo(person, number)))
    return tmp_path


def audit(made: Made, **options: object) -> LeakageResult:
    for person in range(PEOPLE):
        for number in range(PHOTOS):
            name, image = made(person, number)
            place = Path("released", f"p{name}")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.png").write_bytes(image)
    given = {"attacker": ["phi.onnx"], "imitations": 0, "min_attacker": 0.0, "device": "cpu", "workers": 2}
    return leakage(**(given | {"max_leakage": 0.8} | options))  # type: ignore[arg-type]


def blocks(person: int, number: int, strength: float = 30.0) -> np.ndarray:
    """A photo under heavy noise: no near copy, and its thumbnail is still like its own."""
    noise = np.random.default_rng([person, number]).normal(0, strength, (14, 14, 3)).repeat(8, 0).repeat(8, 1)
    return np.clip(photo(person, number) + noise, 0, 255).astype(np.uint8)


def changed(person: int, number: int, name: str) -> np.ndarray:
    return np.ascontiguousarray(TRANSFORMS[name](photo(person, number)))


NOISE = np.random.default_rng(0)
COPIES: dict[str, Made] = {
    "as they are": lambda person, number: (person, encode_png(photo(person, number))),
    "under shuffled names": lambda person, number: ((person + 7) % PEOPLE, encode_png(photo(person, number))),
    "renamed": lambda person, number: (person + 100 * (person < 16), encode_png(photo(person, number))),
    "recompressed": lambda person, number: (person, encode_jpeg(photo(person, number), 70)),
    "one of them alone": lambda person, number: (
        person, encode_png(photo(3, 1) if (person, number) == (5, 0) else blocks(person, number, 200.0))
    ),
    **{
        name: partial(lambda name, person, number: (person, encode_png(changed(person, number, name))), name)
        for name in TRANSFORMS
    },
    "mirrored, inverted, shuffled": lambda person, number: (
        (person + 7) % PEOPLE, encode_png(255 - changed(person, number, "mirrored"))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["as they are", "under shuffled names", "renamed", "upside down", "inverted",
                                  "one of them alone", "mirrored, inverted, shuffled"])  # fmt: skip
def test_releases_of_originals_fail(name: str) -> None:
    result = audit(COPIES[name])
    assert result.verdict.status == "failed"
    gate = next(gate for gate in result.verdict.gates if gate.option == "--max-copies")
    assert (gate.status, gate.value) == ("failed", 1 if name == "one of them alone" else PEOPLE * PHOTOS)


def test_shuffled_names_refuse_what_was_only_reconstructed() -> None:
    result = audit(lambda person, number: ((person + 7) % PEOPLE, encode_png(blocks(person, number))))
    assert [gate.status for gate in result.verdict.gates] == ["refused", "passed"]
    assert "names do not tell who is who" in result.verdict.reasons[0]


def test_people_are_found_through_a_transform_of_the_whole_release() -> None:
    result = audit(
        lambda person, number: (person, encode_png(np.ascontiguousarray(blocks(person, number)[::-1, ::-1])))
    )
    by = {
        each.attacker: each.risk
        for each in result.findings
        if each.photo == "same" and each.attack == "real_to_released"
    }
    assert by["thumbnail+transforms"] > 0.9 > 0.5 > by["thumbnail"]
    assert by["ensemble+transforms"] > by["ensemble"]
    assert any("upside down" in line and "find more people" in line for line in result.notices)
    assert [gate.status for gate in result.verdict.gates if gate.option == "--max-copies"] == ["passed"]


def test_every_search_is_on_the_audit_s_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_faces(folder / "others", range(90, 94))
    searched: list[str] = []
    backend = retrieval._backend

    def on_the_cpu(name: retrieval.Backend, device: str, width: int) -> tuple[retrieval.Search, list[str]]:
        searched.append(device)
        return backend(name, "cpu", width)

    monkeypatch.setattr(retrieval, "_backend", on_the_cpu)
    monkeypatch.setattr("facemae_cli.tasks.leakage.Plan", lambda *given: Plan(*given[:4], "cuda:7"))
    turned = audit(
        lambda person, number: (person, encode_png(np.ascontiguousarray(blocks(person, number)[::-1, ::-1]))),
        non_members="others",
        known_members=10,
    )
    assert any("upside down" in line and "find more people" in line for line in turned.notices)
    assert set(searched) == {"cuda:7"}


def test_a_constant_release_tells_nothing_and_one_person_is_not_judged(folder: Path) -> None:
    result = audit(lambda person, number: (person, encode_png(np.full((112, 112, 3), 128, np.uint8))))
    assert result.verdict.status == "passed"
    by_released = [each for each in result.findings if each.attack == "real_to_released"]
    assert by_released
    assert all(each.risk == pytest.approx(each.chance) for each in by_released)
    for person in range(1, PEOPLE):
        shutil.rmtree(folder / "raw" / f"p{person}")
        shutil.rmtree(folder / "released" / f"p{person}")
    alone = leakage(attacker=["phi.onnx"], imitations=0, min_attacker=0.0, device="cpu", max_leakage=1.0)
    assert alone.verdict.status == "refused"
    assert "every guess at K = 2 is right" in alone.verdict.reasons[0]
