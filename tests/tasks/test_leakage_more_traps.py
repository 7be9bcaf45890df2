"""More releases, and attackers, that an audit must not be taken in by: who is missing, doubled or exchanged, what shows
nobody, what was changed a little, and embedders that give no features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from helpers.models import write_embedder
from helpers.releases import only_given_attackers, photo, write_faces
from onnx import helper, numpy_helper

from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage import see_through
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.verdict import NOTHING_SHOWS
from facemae_cli.tasks.leakage import leakage

PEOPLE, PHOTOS = 20, 2
ALL = [(person, number) for person in range(PEOPLE) for number in range(PHOTOS)]

Face = tuple[str, int, bytes]  # under whose name, which photo, the image


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(see_through, "PROBED", 8)
    only_given_attackers(monkeypatch)
    write_embedder(tmp_path / "phi.onnx", dim=16)
    return write_faces(tmp_path / "raw", range(PEOPLE), PHOTOS)


def audit(released: Iterable[Face], **options: object) -> LeakageResult:
    for name, number, image in released:
        place = Path("released", name)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(image)
    given = {"attacker": ["phi.onnx"], "imitations": 0, "min_attacker": 0.0, "device": "cpu", "workers": 2}
    return leakage(**(given | {"max_leakage": 0.8} | options))  # type: ignore[arg-type]


def noised(person: int, number: int, strength: float = 200.0) -> np.ndarray:
    """Under 200 nobody is found; under 30 the very photo is, by its thumbnail."""
    noise = np.random.default_rng([person, number]).normal(0, strength, (14, 14, 3)).repeat(8, 0).repeat(8, 1)
    return np.clip(photo(person, number) + noise, 0, 255).astype(np.uint8)


def gates(result: LeakageResult) -> dict[str, str]:
    return {gate.option: gate.status for gate in result.verdict.gates}


def safe(names: Callable[[int], str] = "p{}".format, strength: float = 200.0) -> list[Face]:
    return [(names(person), number, encode_png(noised(person, number, strength))) for person, number in ALL]


def grey(person: int, number: int) -> np.ndarray:
    return np.repeat(photo(person, number).mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)


def zoomed(person: int, number: int) -> np.ndarray:
    return np.asarray(cv2.resize(photo(person, number)[4:-4, 4:-4], (112, 112)))


def barred(person: int, number: int) -> np.ndarray:
    image = photo(person, number).copy()
    image[40:60] = 0
    return image


def mosaic(person: int, number: int) -> np.ndarray:
    return (
        np.asarray(cv2.resize(photo(person, number), (14, 14), interpolation=cv2.INTER_AREA)).repeat(8, 0).repeat(8, 1)
    )


CHANGED: dict[str, Callable[[int, int], bytes]] = {
    "brighter": lambda person, number: encode_png(cv2.convertScaleAbs(photo(person, number), alpha=0.8, beta=50)),
    "grey": lambda person, number: encode_png(grey(person, number)),
    "zoomed": lambda person, number: encode_png(zoomed(person, number)),
    "barred": lambda person, number: encode_png(barred(person, number)),
    "mosaic": lambda person, number: encode_png(mosaic(person, number)),
    "noisy": lambda person, number: encode_png(noised(person, number, 12.0)),
    "compressed hard": lambda person, number: encode_jpeg(photo(person, number), 8),
    "mirrored, some": lambda person, number: encode_png(
        np.ascontiguousarray(photo(person, number)[:, ::-1] if person % 2 else photo(person, number))
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_originals_that_were_changed_a_little_fail(name: str) -> None:
    result = audit([(f"p{person}", number, CHANGED[name](person, number)) for person, number in ALL], max_leakage=0.5)
    assert result.verdict.status == "failed"


def test_originals_slipped_in_among_reconstructions_fail() -> None:
    slipped = [(name, number, encode_png(photo(7, 1)) if at == 15 else image)
               for at, (name, number, image) in enumerate(safe())]  # fmt: skip
    result = audit(slipped, max_leakage=1.0)
    assert (result.verdict.status, gates(result)["--max-copies"]) == ("failed", "failed")
    assert result.duplicates is not None
    assert [(copy.identity, copy.released_photo) for copy in result.duplicates.copies] == [("p7", "1.png")]


def test_people_under_two_names_are_refused() -> None:
    result = audit(safe(strength=30.0) + safe("q{}".format, strength=30.0), max_leakage=1.0)
    assert gates(result)["--max-leakage"] == "refused"
    assert "names do not tell who is who" in result.verdict.reasons[0]


def test_two_names_exchanged_are_said() -> None:
    names = {2: "p3", 3: "p2"}
    result = audit(safe(lambda person: names.get(person, f"p{person}"), strength=30.0), max_leakage=1.0)
    assert result.verdict.status == "passed"
    assert any("4 are there under another person's name, and the rates miss them" in line for line in result.notices)


def test_a_release_of_other_people_is_refused_by_names_and_by_numbers(folder: Path) -> None:
    others = [(f"x{person}", number, encode_png(noised(50 + person, number, 30.0))) for person, number in ALL]
    assert audit(others).verdict.status == "refused"
    assert gates(audit([], max_leakage=None, max_copies=0)) == {"--max-copies": "refused"}
    for person in range(PEOPLE):
        (folder / f"p{person}").rename(folder / str(person))
        Path("released", f"x{person}").rename(Path("released", str(person)))
    result = audit([])
    assert gates(result)["--max-leakage"] == "refused"
    assert result.verdict.reasons[0].startswith(f"people are joined by bare numbers, and {NOTHING_SHOWS}")


def test_half_of_the_people_missing_leaves_a_verdict_on_those_who_are_there() -> None:
    result = audit([face for face in safe() if int(face[0][1:]) % 2], max_leakage=1.0)
    assert (result.verdict.status, result.headline.people if result.headline else 0) == ("passed", PEOPLE // 2)
    assert any("10 only among the originals" in line for _, line in result.summary())


def test_one_photo_a_person_is_refused_and_the_very_photo_judged_all_the_same(folder: Path) -> None:
    for person in range(PEOPLE):
        (folder / f"p{person}" / "1.png").unlink()
    kept = [face for face in safe(strength=30.0) if face[1] == 0]
    (reason,) = audit(kept, max_leakage=1.0).verdict.reasons
    assert reason.startswith("the risk from other photos of a person could not be measured")
    assert reason.endswith("give originals with two photos or more of a person")
    assert gates(audit([], max_leakage=None, max_leakage_same=0.5)) == {
        "--max-leakage-same": "failed", "--max-copies": "passed",
    }  # fmt: skip


def test_black_faces_tell_nothing_and_that_is_said(folder: Path) -> None:
    black = encode_png(np.zeros((112, 112, 3), np.uint8))
    result = audit([(f"p{person}", number, black) for person, number in ALL])
    assert result.verdict.status == "passed"
    assert any(line.startswith(NOTHING_SHOWS) for line in result.notices)
    for face in folder.rglob("*.png"):
        face.write_bytes(encode_png(np.zeros((112, 112, 3), np.uint8) + 1))
    assert gates(audit([], max_leakage=1.0, min_attacker=0.6)) == {"--max-leakage": "refused", "--max-copies": "passed"}


def test_an_empty_release_is_an_error() -> None:
    Path("released", "p0").mkdir(parents=True)
    with pytest.raises(InputError, match="released holds no faces"):
        audit([])


def blind(path: Path, least: float) -> Path:
    """phi less so much and the root of that: not finite wherever a mean is under `least`; zero, always, for none."""
    model = onnx.load(write_embedder(path, dim=16))
    model.graph.node[-1].output[0] = "f"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(least if least else 0.0), "least"))
    last = [helper.make_node("Sub", ["f", "least"], ["s"]), helper.make_node("Sqrt", ["s"], ["y"])]
    model.graph.node.extend(last if least else [helper.make_node("Mul", ["f", "least"], ["y"])])
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("least", "lost"), [(1e6, 80), (0.0, 80), (0.9, None)])
def test_an_attacker_without_features_is_named_carries_no_verdict_and_blinds_nobody(
    least: float, lost: int | None, folder: Path
) -> None:
    blind(folder.parent / "blind.onnx", least)
    result = audit(safe(strength=30.0), attacker=["phi.onnx", "blind.onnx"], max_leakage=1.0)
    said = [line for line in result.notices if line.startswith("blind gives no feature")]
    assert len(said) == 1
    count = int(said[0].split(" for ")[1].split()[0])
    assert count == lost if lost else 0 < count < 80
    by = {each.name: each for each in result.attackers}
    assert any("gives no feature for" in reason for reason in by["blind"].barred)
    assert by["ensemble"].barred == ()
    whole = next(each for each in result.findings if (each.attacker, each.photo) == ("ensemble", "same"))
    assert whole.queries == len(ALL)
    assert result.verdict.status == "passed"
    assert {refusal.reason for refusal in result.refused} == {"no-embedding"}
    alone = audit([], attacker=["blind.onnx"], max_leakage=1.0)
    assert gates(alone)["--max-leakage"] == "refused"
