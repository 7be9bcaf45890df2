"""What is published beside a dataset: valid for its readers, true to the manifest and the audit, and naming nobody."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
from helpers.maskcases import PEOPLE, encoded, key_file, make_folder, pixels, put, tree
from helpers.models import write_embedder, write_mae
from helpers.releases import only_given_attackers
from huggingface_hub import DatasetCard

import facemae_cli
from facemae_cli.app import main
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output.beside import BESIDE, beside_path, is_beside
from facemae_cli.errors import InputError, UsageError
from facemae_cli.reports.publication.card import dataset_card
from facemae_cli.reports.publication.croissant import croissant
from facemae_cli.reports.publication.facts import Facts, Figure, Figures, ModelFacts, read_figures
from facemae_cli.reports.text import finite

SHA = "ab" * 32


def described(out: Path) -> dict[str, Any]:
    """croissant.json, which mlcroissant accepts without a complaint but for what only the publisher knows."""
    found = mlcroissant.Dataset(jsonld=str(out))
    issues = found.metadata.ctx.issues
    assert not issues.errors
    left = ("datePublished", "license", "url")
    assert all(any(word in warning for word in left) for warning in issues.warnings), issues.warnings
    return dict(json.loads(out.read_text()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """raw, masked, released, and the audit and verification of the release as JSON."""
    root = tmp_path_factory.mktemp("made")
    make_folder(root / "raw")
    write_mae(root / "mae")
    phi = str(write_embedder(root / "phi.onnx", dim=16))
    facemae_cli.mask(root / "raw", root / "masked", key=key_file(root / "key"))
    facemae_cli.reconstruct(root / "masked", root / "released", model=str(root / "mae"), device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        only_given_attackers(patch)
        audit = facemae_cli.leakage(
            root / "raw", root / "released", attacker=[phi], key=root / "key", imitations=0, max_leakage=0.9
        )
    (root / "audit.json").write_text(json.dumps(finite(audit.as_json())))
    return root


def test_a_release_carries_a_card_that_the_hub_reads(made: Path) -> None:
    card = DatasetCard.load(made / "released/README.md")
    assert card.data.to_dict()["size_categories"] == ["n<1K"]
    assert {"synthetic", "privacy"} <= set(card.data.to_dict()["tags"])
    manifest = read_manifest(made / "released")
    assert manifest is not None
    assert manifest.model is not None
    text = card.text
    for said in ("75.0 % of each face", str(manifest.model["sha256"]), "9 images went in", "has not been audited"):
        assert said in text


def test_croissant_is_valid_and_its_records_are_the_faces(made: Path) -> None:
    path = made / "released/croissant.json"
    told = described(path)
    assert {key for key in told if key.startswith("rai:")} >= {
        "rai:dataLimitations",
        "rai:personalSensitiveInformation",
    }
    records = [*mlcroissant.Dataset(jsonld=str(path)).records("faces")]
    source = open_source(made / "released")
    people = [source.name(index).identity for index in range(len(source))]
    assert sorted(record["faces/person"].decode() for record in records) == sorted(map(str, people))
    assert {record["faces/image"].size for record in records} == {(112, 112)}


def test_both_are_known_again_as_ours(made: Path) -> None:
    assert [is_beside(made / "released" / name) for name in BESIDE] == [True, True]
    assert not is_beside(made / "released/facemae.json")


def test_neither_names_anybody(made: Path) -> None:
    for name, data in tree(made / "released").items():
        assert not [person for person in PEOPLE if person.encode() in name.encode() + data]


def test_they_do_not_disturb_readers(made: Path, tmp_path: Path) -> None:
    source = open_source(made / "released")
    assert (len(source), source.ignored, [*source.refused]) == (9, 0, [])
    assert facemae_cli.inspect(made / "released").people == 3
    again = facemae_cli.reconstruct(made / "masked", tmp_path / "released", model=str(made / "mae"), device="cpu")
    assert tree(again.out) == tree(made / "released")
    facemae_cli.reconstruct(
        made / "masked", tmp_path / "released", model=str(made / "mae"), device="cpu", overwrite=True
    )
    assert tree(tmp_path / "released") == tree(made / "released")


@pytest.mark.parametrize("out", ["x.rec", "set/train.rec", "copy"])
def test_a_copy_is_published_with_the_audits_figures(
    made: Path, tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["convert", "-i", str(made / "released"), "-o", str(tmp_path / out), "--audit", str(made / "audit.json")]
    assert main(words) == 0
    place = tmp_path / out
    card, machine = (
        (place / "README.md", place / "croissant.json")
        if out == "copy"
        else (place.with_suffix(".README.md"), place.with_suffix(".croissant.json"))
    )
    headline = json.loads((made / "audit.json").read_text())["headline"]
    low, high = (f"{100 * bound:.1f} %" for bound in headline["interval"])
    for text in (DatasetCard.load(card).text, machine.read_text()):
        assert f": {100 * headline['risk']:.1f} % (95 % interval {low} to {high}); by chance" in text
        assert re.search(r"The audit's verdict: \w+, by the limits --max-leakage 0.9, --max-copies 0\.", text)
        assert re.search(r"Without a limit: \d+\.\d % found by the very photo", text)
        assert "has not been audited" not in text
        assert not [person for person in PEOPLE if person in text]
    described(machine)
    source = open_source(place)
    assert (len(source), source.ignored, [*source.refused]) == (9, 0, [])


def test_verifications_are_told_too(tmp_path: Path) -> None:
    pack = {"accuracy": 0.91, "interval": [0.88, 0.93], "pairs": 600}
    path = tmp_path / "verified.json"
    found = {"command": "verify", "model": "probe", "model_sha256": SHA}
    path.write_text(json.dumps({**found, "packs": {"lfw": pack, "<b>x</b>": {**pack, "accuracy": None}}}))
    figures = read_figures([path], Manifest("reconstruct"))
    assert [str(figure) for figure in figures.utility] == [
        f"accuracy of the recogniser probe (sha256 {SHA[:12]}) on lfw (600 pairs): 91.0 % "
        "(95 % interval 88.0 % to 93.0 %)"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not the JSON that"),
        ('{"command": "mask"}', "its command is 'mask'"),
        ('{"command": "leakage", "digests": {}}', "not the JSON of leakage or verify as this version"),
    ],
)
def test_what_is_no_audit_is_told_before_any_work(made: Path, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=told):
        facemae_cli.convert(made / "released", tmp_path / "copy", audit=[tmp_path / "a.json"])
    assert not (tmp_path / "copy").exists()


def test_an_audit_of_other_faces_is_refused(made: Path, tmp_path: Path) -> None:
    """As one from before a withdrawal is, or one of the release where it is the masked faces that are copied."""
    audit = [made / "audit.json"]
    facemae_cli.convert(made / "released", tmp_path / "copy.rec", audit=audit)
    facemae_cli.convert(tmp_path / "copy.rec", tmp_path / "again.rec", audit=audit)  # the same faces in another format
    published(made, tmp_path / "copy.rec")
    for source in (tmp_path / "copy.rec", made / "masked"):
        with pytest.raises(UsageError, match=r"is of other faces \(digest .*: audit these"):
            facemae_cli.convert(source, tmp_path / "out", audit=audit)
    for source, out in ((made / "raw", "out"), (made / "released", "out.bin")):
        with pytest.raises(UsageError, match="none is written here"):
            facemae_cli.convert(source, tmp_path / out, audit=audit)
    assert not (tmp_path / "out").exists()


def test_an_audit_of_another_model_s_release_is_refused(made: Path, tmp_path: Path) -> None:
    audit = json.loads((made / "audit.json").read_text())
    audit["digests"]["model of the release"] = SHA
    (tmp_path / "a.json").write_text(json.dumps(audit))
    with pytest.raises(UsageError, match="of a release by another model"):
        facemae_cli.convert(made / "released", tmp_path / "copy", audit=[tmp_path / "a.json"])


def published(made: Path, out: Path, line: str = "Ottoline-Vavasour") -> Any:
    """What `withdraw` says of the release at `out`."""
    people = out.parent / "gone.txt"
    people.write_text(f"{line}\n")
    return facemae_cli.withdraw([out], people=people, key=made / "key").datasets[0]


@pytest.mark.parametrize("out", ["copy", "copy.rec"])
@pytest.mark.parametrize("audited", [True, False])
def test_a_withdrawal_brings_the_card_up_to_date(made: Path, tmp_path: Path, out: str, audited: bool) -> None:
    facemae_cli.convert(made / "released", tmp_path / out, audit=[made / "audit.json"] if audited else [])
    assert published(made, tmp_path / out).foreign == []
    facemae_cli.convert(tmp_path / out, tmp_path / "anew" / out)  # what facemae says of the dataset as it is now
    for name in BESIDE:
        text, anew = (beside_path(tmp_path / where, name).read_text() for where in (out, f"anew/{out}"))
        assert text == anew.replace("7 images went in", "9 images went in")
    assert "2 images were withdrawn afterwards" in text
    assert "has not been audited" in text


def test_loose_faces_beside_people_change_nothing_of_what_facemae_says(made: Path, tmp_path: Path) -> None:
    for number in range(9):  # they sort before all people, and no line of a list can mean them
        put(tmp_path / f"raw/loose {number}.png", encoded(pixels(900 + number), ".png"))
    make_folder(tmp_path / "raw")
    facemae_cli.mask(tmp_path / "raw", tmp_path / "masked", key=made / "key")
    facemae_cli.reconstruct(tmp_path / "masked", tmp_path / "released", model=str(made / "mae"), device="cpu")
    facemae_cli.convert(tmp_path / "released", tmp_path / "copy")
    for place in (tmp_path / "released", tmp_path / "copy"):
        assert "faces/person" in (place / "croissant.json").read_text()
        assert published(made, place).foreign == []
        assert "faces/person" in (place / "croissant.json").read_text()
    people = "\n".join(person for person in PEOPLE if person != "Ottoline-Vavasour")
    assert published(made, tmp_path / "copy", people).foreign == []
    assert "faces/person" not in (tmp_path / "copy/croissant.json").read_text()


@pytest.mark.parametrize("audited", [True, False])
def test_a_withdrawal_keeps_what_the_publisher_wrote(made: Path, tmp_path: Path, audited: bool) -> None:
    facemae_cli.convert(made / "released", tmp_path / "copy", audit=[made / "audit.json"] if audited else [])
    card, other = tmp_path / "copy/README.md", tmp_path / "copy/croissant.json"
    ours = card.read_text()
    own = ours.replace("stated-by-the-publisher", "ours-1.0\nlicense_link: https://example.org/l").replace(
        "- facemae\n", "- facemae\n- lab\n"
    )
    own = own.replace("## Limits\n", "## Funding\n\nBy nobody.\n\n## Limits\n") + "\nContact: us@example.org\n"
    card.write_text(own)
    described = json.loads(other.read_text())
    described["license"] = "https://example.org/l"
    described["rai:dataUseCases"].append("Ours.")
    other.write_text(json.dumps(described))
    result = published(made, tmp_path / "copy")
    assert result.foreign == ["its header", "Funding", "Licence and contact", "rai:dataUseCases", "license"]
    [note] = [value for label, value in result.rows() if label == "note"]
    assert "Funding, Licence and contact" in note
    text = card.read_text()
    data = DatasetCard(text).data.to_dict()
    assert (data["license_name"], data["license_link"]) == ("ours-1.0", "https://example.org/l")
    assert data["tags"][-2:] == ["lab", "synthetic"]
    assert "stated-by-the-publisher" not in text
    assert text.endswith("\nContact: us@example.org\n")
    assert "## Funding\n\nBy nobody.\n\n## Limits\n" in text
    assert ("7 images of faces" in text, "9 images of faces" in text) == (True, False)
    assert text.count("2 images were withdrawn afterwards") == text.count("has not been audited") == 1
    assert "verdict" not in text
    after = json.loads(other.read_text())
    assert (after["license"], after["rai:dataUseCases"][-1]) == ("https://example.org/l", "Ours.")
    assert after["description"].startswith("7 images")
    assert "verdict" not in other.read_text()
    # And once more, by another list.
    published(made, tmp_path / "copy", "family/Bartholomew Xq\u00e9zk")
    assert "5 images were withdrawn afterwards" in card.read_text()
    assert "2 images were withdrawn" not in card.read_text()


@pytest.mark.parametrize("title", ["Risks, as measured", "Use, as measured"])
def test_a_publisher_s_text_beside_the_figures_stays_when_these_go(made: Path, tmp_path: Path, title: str) -> None:
    facemae_cli.convert(made / "released", tmp_path / "copy", audit=[made / "audit.json"])
    card = tmp_path / "copy/README.md"
    start, _, rest = card.read_text().partition(f"## {title}\n\n")
    card.write_text(f"{start}## {title}\n\nWe asked our board.\n\n{rest}")
    assert published(made, tmp_path / "copy").foreign == [title]
    once = card.read_text()
    nothing = "- Nothing was measured, or no result was given when the card was written.\n"
    assert f"## {title}\n\n{nothing}\nWe asked our board.\n\n## " in once
    assert "verdict" not in once
    card.write_text(once.replace("board.\n", "board.\n\nIt met once.\n"))
    assert published(made, tmp_path / "copy", "family/Bartholomew Xq\u00e9zk").foreign == [title]
    assert f"{nothing}\nWe asked our board.\n\nIt met once.\n\n## " in card.read_text()


def test_a_withdrawal_keeps_the_files_that_are_there(made: Path, tmp_path: Path) -> None:
    facemae_cli.convert(made / "released", tmp_path / "copy")
    (tmp_path / "copy/README.md").unlink()
    published(made, tmp_path / "copy")
    assert [name for name in BESIDE if (tmp_path / "copy" / name).exists()] == ["croissant.json"]
    torn = (tmp_path / "copy/croissant.json").read_text()[:-9]
    (tmp_path / "copy/croissant.json").write_text(torn)
    with pytest.raises(InputError, match=r"croissant\.json is not JSON .*: repair it, or remove it"):
        published(made, tmp_path / "copy", "family/Bartholomew Xq\u00e9zk")
    assert (tmp_path / "copy/croissant.json").read_text() == torn


@pytest.mark.parametrize("suffix", ["rec", "parquet"])
def test_a_withdrawal_from_a_renamed_file_calls_it_by_its_new_name(made: Path, tmp_path: Path, suffix: str) -> None:
    facemae_cli.convert(made / "released", tmp_path / f"copy.{suffix}")
    for file in tmp_path.glob("copy.*"):
        file.rename(tmp_path / file.name.replace("copy.", "public."))
    path = tmp_path / "public.croissant.json"
    described = json.loads(path.read_text())
    shards = {"@id": "more", "includes": f"more.{suffix}"}
    described["distribution"].append(shards)
    path.write_text(json.dumps(described))
    assert published(made, tmp_path / f"public.{suffix}").foreign == ["distribution"]  # for the shards
    ours, theirs = json.loads(path.read_text())["distribution"]
    assert (ours["includes"], theirs) == (f"public.{suffix}", shards)
    described = json.loads(path.read_text())
    described["distribution"].pop()
    described["distribution"][0]["includes"] = f"older.{suffix}"
    path.write_text(json.dumps(described))
    assert published(made, tmp_path / f"public.{suffix}", "family/Bartholomew Xq\u00e9zk").foreign == []
    assert json.loads(path.read_text())["distribution"] == [ours]


def test_what_facemae_did_not_make_gets_no_card(tmp_path: Path) -> None:
    make_folder(tmp_path / "raw")
    facemae_cli.convert(tmp_path / "raw", tmp_path / "copy")
    assert not (tmp_path / "copy/README.md").exists()


@pytest.mark.parametrize("people", [True, False])
@pytest.mark.parametrize("layout", ["folder", "rec", "parquet"])
def test_every_kind_of_dataset_is_described_validly(tmp_path: Path, layout: Any, people: bool) -> None:
    for number, (kind, faces) in enumerate((("mae", 0), ("mae", 50_000), ("", 20_000_000))):
        manifest = Manifest(
            "convert",
            model={"kind": kind, "sha256": SHA} if kind else None,
            grid=14,
            mask_ratio=0.75,
            counts={"in": faces, "out": faces, "refused": {}},
            seed=True,
            names="kept",
        )
        facts = Facts(manifest, layout, ".png", people, ModelFacts.of(manifest))
        path = tmp_path / f"{number}.json"
        path.write_text(croissant(facts, "x.rec"))
        described(path)
        [size] = DatasetCard(dataset_card(facts)).data.to_dict()["size_categories"]
        assert size == ("n<1K", "10K<n<100K", "10M<n<100M")[number]


def test_a_mixed_release_says_that_nobody_is_in_a_face_whole() -> None:
    extra = {"mixing": {"people": 3, "copies": 3}}
    manifest = Manifest("reconstruct", {"kind": "mae", "sha256": SHA}, 14, 0.8, extra=extra)
    text = dataset_card(Facts(manifest, "folder", ".jpg", model=ModelFacts(None, SHA)))
    for said in ("one folder or label a mixture of 3 people", "faces of 3 people each were mixed", "they have seams"):
        assert said in text
    assert "Hair, clothes" not in text
    assert "Measured of" not in text


def test_what_was_measured_of_datasets_made_alike_is_said_where_this_one_was_not_audited() -> None:
    manifest = Manifest("reconstruct", {"kind": "mae", "sha256": SHA}, 14, 0.8)
    facts = Facts(manifest, "folder", ".jpg", model=ModelFacts(None, SHA), elsewhere="of another: 5 %")
    said = "- Measured of another: 5 %. Other faces and other people give other figures."
    assert said in dataset_card(facts)
    audited = replace(facts, figures=Figures([Figure("Found", 0.05, None)]))
    assert "of another" not in dataset_card(audited)
