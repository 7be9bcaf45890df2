"""`leakage` on datasets that are broken, incomplete, copied or not what they seem; and options that cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.releases import PEOPLE, PHOTOS, audit, make_release, only_given_attackers, photo, risks, write_faces

import facemae_cli
from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.errors import AllRefused, InputError, UsageError
from facemae_cli.evaluation.leakage.audit import Audit
from facemae_cli.runtime import threads


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in."""
    only_given_attackers(monkeypatch)
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "work"))
    return Path.cwd()


def test_without_the_key_what_needs_no_names_is_measured(folder: Path) -> None:
    (folder / "facemae.key").rename(folder / "away.key")
    result = audit(max_leakage=1.0)
    assert {(each.attack, each.photo) for each in result.findings} == {("real_to_real", "other")}
    assert any("--key FILE" in line for line in result.unmeasured)
    assert result.verdict.status == "refused"
    assert audit(key=folder / "away.key").verdict.status == "none"


def test_a_key_of_another_release_is_refused(folder: Path) -> None:
    facemae_cli.mask(folder / "raw", folder / "again", key=folder / "other.key")
    with pytest.raises(UsageError, match="--key FILE takes the release's own"):
        audit(key=folder / "other.key")


def test_where_photos_do_not_join_other_photos_are_refused_with_the_count(folder: Path) -> None:
    for at, path in enumerate(sorted((folder / "released").rglob("*.jpg"))):
        path.rename(path.with_name(f"photo{at}.jpg"))
    result = audit(max_leakage=1.0)
    assert {(each.attack, each.photo) for each in result.findings} == {
        ("real_to_released", "same"), ("imitated_to_released", "same"), ("real_to_real", "other"),
    }  # fmt: skip
    assert any("0 of 24 photos join by name" in line for line in result.unmeasured)
    assert result.failed_gates


def test_unreadable_faces_are_refused_once_and_the_rest_is_measured(folder: Path) -> None:
    (folder / "raw" / "p0" / "0.png").write_bytes(b"no image")
    (folder / "raw" / "p1" / "1.png").write_bytes((folder / "raw" / "p1" / "1.png").read_bytes()[:-20])
    result = audit(attacker=["phi.onnx", "phi2.onnx"])
    assert sorted((Path(item.where).parent.name, item.reason) for item in result.refused) == [
        ("p0", "not-an-image"), ("p1", "truncated"),
    ]  # fmt: skip
    finding = next(each for each in result.findings if each.photo == "same" and each.attack == "real_to_released")
    assert finding.queries == PEOPLE * PHOTOS - 2


def test_people_on_one_side_and_empty_ones_are_counted(folder: Path) -> None:
    write_faces(folder / "raw", range(50, 52), 1)
    (folder / "raw" / "empty").mkdir()
    result = audit()
    assert result.names is not None
    assert (result.names.people, result.names.only_original, result.names.empty) == (PEOPLE, 2, 1)
    finding = next(each for each in result.findings if each.attack == "real_to_released")
    assert (finding.trials[0].people, finding.trials[0].left_out) == (PEOPLE, 2)


def test_non_members_may_be_given_and_those_who_are_members_are_left_out(folder: Path) -> None:
    write_faces(folder / "others", range(100, 110), 2)
    shutil.copytree(folder / "raw" / "p2", folder / "others" / "someone")
    shutil.copytree(folder / "raw" / "p2", folder / "others" / "#recycle" / "p2")
    (folder / "released" / "notes.txt").write_text("not an image")
    result = audit(non_members=folder / "others")
    told = result.memberships[0]
    assert told.given
    assert (told.membership.members, told.membership.non_members) == (PEOPLE, 10)
    assert any(line.startswith("1 people of --non-members are left out") for line in result.notices)
    assert result.notices[0] == "files ignored in --released: 1, which are not images"
    assert result.notices[1].startswith("passed over in --non-members: 1 #recycle: ")
    assert result.as_json()["not_read"] == {
        "--original": {"ignored_files": 0, "passed_over": {}},
        "--released": {"ignored_files": 1, "passed_over": {}},
        "--non-members": {"ignored_files": 0, "passed_over": {"#recycle": 1}},
    }


def test_members_under_other_bytes_are_left_out_and_those_of_a_members_name_are_said(folder: Path) -> None:
    others = write_faces(folder / "others", range(40, 60), 1)
    for name, face in (("darker/0.png", encode_png(photo(0, 0) // 2)), ("again/0.jpg", encode_jpeg(photo(2, 0), 95))):
        (others / name).parent.mkdir()
        (others / name).write_bytes(face)
    (others / "p41").rename(others / "p1")  # of somebody else
    result = audit(non_members=others, imitations=0)
    assert any(line.startswith("2 people of --non-members are left out") for line in result.notices)
    assert any(line.startswith("1 people of --non-members have names of people") for line in result.notices)


def test_whoever_adapts_does_not_learn_from_the_people_to_be_found(folder: Path) -> None:
    """By their photos, byte for byte or nearly, as non-members are left out; a name alone is only said."""
    own = write_faces(folder / "own", range(20, 44), 2)
    alone = audit(adapt=own, imitations=0)
    shutil.copytree(folder / "raw" / "p2", own / "someone")
    (own / "again").mkdir()
    (own / "again" / "0.jpg").write_bytes(encode_jpeg(photo(3, 0), 95))
    (own / "again" / "1.png").write_bytes(encode_png(photo(99, 1)))  # of the same person, since filed there
    mixed = audit(adapt=own, imitations=0)
    assert any(line.startswith("2 people of --adapt are left out: a photo of theirs") for line in mixed.notices)
    assert [each.adapted for each in mixed.attackers] == [each.adapted for each in alone.attackers]
    assert risks(mixed) == risks(alone)
    (own / "p43").rename(own / "p1")
    named = audit(adapt=own, imitations=0).notices
    assert any(line.startswith("1 people of --adapt have names of people among the originals") for line in named)


@pytest.mark.parametrize("option", ["non_members", "adapt"])
@pytest.mark.parametrize("theirs", ["raw", "released"])
def test_others_who_are_all_members_are_refused(folder: Path, option: str, theirs: str) -> None:
    said = f"--{option.replace('_', '-')} .*: each of its people has a photo among the originals or in the release"
    with pytest.raises(InputError, match=said):
        audit(**{option: folder / theirs}, imitations=0)


@pytest.mark.parametrize("option", ["non_members", "adapt"])
def test_unreadable_faces_of_others_are_refused_too(folder: Path, option: str) -> None:
    others = write_faces(folder / "others", range(40, 64), 1)
    for name in ("p40", "p41"):
        broken = others / name / "0.png"
        broken.write_bytes(broken.read_bytes()[:100])
    assert [Path(item.where).parent.name for item in audit(**{option: others}).refused] == ["p40", "p41"]
    for path in others.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(AllRefused, match=f"--{option.replace('_', '-')} .*: not one of its faces can be read"):
        audit(**{option: others})


@pytest.mark.parametrize("side", ["raw", "released"])
def test_where_no_face_can_be_read_nothing_is_written(folder: Path, side: str) -> None:
    for path in (folder / side).rglob("*.[pj][np]g"):
        path.write_bytes(b"no image")
    with pytest.raises(AllRefused, match="not one of its faces can be read") as caught:
        audit(report=folder / "report.html")
    assert len(caught.value.refused) == PEOPLE * PHOTOS
    assert not (folder / "report.html").exists()


def test_a_planted_copy_is_found_and_listed(folder: Path) -> None:
    from facemae_cli.masking.key import Key

    raw, key = folder / "raw" / "p3" / "1.png", Key.load(folder / "facemae.key")
    planted = sorted((folder / "released" / key.identity("p4")).iterdir())[1]
    own = folder / "released" / key.identity("p3") / f"{key.photo('p3', '1.png')}.jpg"
    own.unlink()
    shutil.copy(raw, own.with_suffix(".png"))
    planted.write_bytes(encode_jpeg(photo(5, 2), 80))  # a near copy, under another's name
    result = audit()
    assert result.duplicates is not None
    assert (result.duplicates.released, result.duplicates.whole) == (1, False)
    kinds = {copy.released_photo: copy.kind for copy in result.duplicates.copies}
    assert kinds[own.with_suffix(".png").name] == "bytes"
    assert kinds.keys() == {own.with_suffix(".png").name, planted.name}
    assert result.exposed[0].identity == key.identity("p3")
    assert result.exposed[0].similarity == pytest.approx(1, abs=1e-6)
    assert result.exposed[0].same_photo
    assert any("faces that are real: 1 byte" in line for line in result.notices)


def test_originals_released_as_they_are_are_told(folder: Path) -> None:
    result = audit(released=folder / "raw", imitation_model=None)
    assert result.duplicates is not None
    assert result.duplicates.whole
    found = risks(result)
    assert found["real_to_released", "same", "phi", 2] == 1
    assert found["real_to_released", "other", "phi", 2] == found["real_to_real", "other", "phi", 2]
    assert any("no model of it is known" in line for line in result.notices)
    assert ("duplicates", result.duplicates.lines()[0]) in result.summary()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": "0"}, "--k '0'"),
        ({"identities": "9"}, "--identities '9': give a number from 1 to 8"),
        ({"max_leakage": 50}, "write 0.5 for 50 %"),
        ({"max_tpr": -0.1}, "--max-tpr -0.1 is not a share"),
        ({"min_attacker": float("nan")}, "--min-attacker nan is not a share"),
        ({"trials": 0}, "--trials 0"),
        ({"workers": 0}, "--workers 0"),
        ({"workers": -1}, "--workers -1"),
        ({"imitations": -1}, "--imitations -1"),
        ({"seed": -1}, "--seed -1"),
        ({"show_faces": True}, "--show-faces is about the page"),
        ({"report": "released/audit.html"}, "--report .* is inside the dataset"),
        ({"cache": "raw/cache"}, "--cache .* is inside the dataset"),
        ({"report": "none/audit.html"}, "there is no folder"),
        ({"imitation_model": ["phi.onnx"]}, "is a model of kind embedder"),
        ({"key": "no.key"}, "no key at no.key"),
        ({"precision": "half"}, "--precision 'half'"),
        ({"batch_size": "0"}, "--batch-size '0'"),
    ],
)
def test_what_cannot_be_carried_out(folder: Path, options: dict[str, Any], message: str) -> None:
    paths = {name: Path(value) for name, value in options.items() if name in ("report", "cache", "key")}
    with pytest.raises(UsageError, match=message):
        audit(**(options | paths))


def test_ranks_of_one_machine_share_its_cores(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setattr(Audit, "run", lambda audited, *_: asked.append(audited.settings.threads))
    for workers in (None, 3):
        audit(workers=workers)
    assert asked == [4, 3]


def test_what_is_no_dataset(folder: Path) -> None:
    (folder / "empty").mkdir()
    for name, message in (("none", "does not exist"), ("empty", "holds no faces")):
        with pytest.raises(InputError, match=message):
            audit(released=folder / name)
