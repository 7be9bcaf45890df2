"""`mask --protect`: mixed faces from end to end, who may know of whom, and what is refused before anything is made."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections import Counter

import numpy as np
import pytest
import torch
from helpers.maskcases import Listener, make_folder, put, rgba, tree
from helpers.models import write_mae
from helpers.ranks import run_ranks

from facemae_cli.app import main
from facemae_cli.data.faces import FaceChunk
from facemae_cli.data.images.codec import decode
from facemae_cli.data.manifest import read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output import output
from facemae_cli.data.output.recordio import RecWriter
from facemae_cli.data.side_files import SideFile
from facemae_cli.errors import InputError, UsageError
from facemae_cli.inference.masked_reader import MaskedReader
from facemae_cli.inference.pipeline import Runner
from facemae_cli.inference.reconstruct import Reconstructor, release
from facemae_cli.inference.released_writer import ReleasedWriter
from facemae_cli.masking import patches
from facemae_cli.masking.key import Key
from facemae_cli.masking.levels import Level
from facemae_cli.masking.mixing import Mixing
from facemae_cli.masking.warp import warp
from facemae_cli.networks.loading import load_mae
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime import worker_pool
from facemae_cli.tasks.convert import convert
from facemae_cli.tasks.inspect import inspect
from facemae_cli.tasks.leakage import leakage
from facemae_cli.tasks.mask import mask
from facemae_cli.tasks.reconstruct import reconstruct
from facemae_cli.tasks.withdraw import withdraw

CPU = torch.device("cpu")
PEOPLE = {"anna": 2, "bert": 3, "cleo": 1, "dora": 2, "eve": 2}
MIXING = Level(Mixing(people=2, copies=2), ratio=0.75)


@pytest.fixture
def raw(tmp_path):
    return make_folder(tmp_path / "raw", PEOPLE)


def made_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["released", "person", "photo"]
    found: dict[str, list[tuple[str, str]]] = {}
    assert rows[1][0].startswith("facemae:")
    for face, person, photo in rows[2:]:
        found.setdefault(face, []).append((person, photo))
    return found


@pytest.mark.parametrize("out", ["masked", "masked.rec"])
def test_mixed_faces_stand_under_names_of_their_own_and_the_steward_is_told_of_whom(raw, key, tmp_path, out):
    table = tmp_path / "whom.csv"
    result = mask(raw, tmp_path / out, key=key, protect=MIXING, sources=table, workers=2)
    source = open_source(tmp_path / out)
    assert (result.faces_in, result.faces, len(source), result.identities) == (10, 20, 20, 5)
    found = made_of(table)
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    names = [source.name(index) for index in range(20)]
    if out == "masked":
        assert {f"{name.identity}/{name.photo.removesuffix('.png')}" for name in names} == set(found)
    assert all(len({person for person, _ in parts}) == 2 for parts in found.values())
    assert Counter(part for parts in found.values() for part in parts).keys() == {
        (person, f"snap {photo}.{'png' if photo == 1 else 'jpg'}") for person, count in PEOPLE.items()
        for photo in range(count)
    }  # fmt: skip
    assert len({name.identity for name in names}) == 2 * len(PEOPLE)
    for index in range(20):
        assert patches.read_mask(rgba(source.read(index))).sum() % 4 == 0
    manifest = read_manifest(tmp_path / out)
    code = table.read_text().splitlines()[1].removeprefix("facemae:").rstrip(",")
    assert manifest.extra == {"mixing": {"people": 2, "copies": 2, "warp": 1.0, "sources": code}}
    assert manifest.counts == {"in": 10, "out": 20, "refused": {}}
    assert ("mixed", "2 people in each face; what counts as people above are mixtures") in (
        inspect(tmp_path / out).summary()
    )
    assert ("mixed", f"2 people in a face, each photo first in 2; of whom: {table}, which only you may read") in (
        result.summary()
    )
    assert result.as_json()["mixing"] == {"people": 2, "copies": 2, "warp": 1.0}


def test_bytes_are_equal_over_runs_workers_and_a_resume(raw, key, tmp_path, monkeypatch):
    def run(name, **options):
        mask(raw, tmp_path / name, key=key, protect=MIXING, sources=tmp_path / f"{name}.csv", **options)
        return tree(tmp_path / name), (tmp_path / f"{name}.csv").read_bytes()

    first = run("one", workers=1)
    assert run("two", workers=3) == first
    monkeypatch.setattr("facemae_cli.masking.job.UNIT", 8)
    whole = run("units")
    seen = []

    class Stopping(Listener):
        def advance(self, count=1, note=""):
            super().advance(count)
            seen.append(count)
            if count == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("stopped", progress=Stopping())
    assert seen[-1] == 8
    assert run("stopped", resume=True) == whole == first


def test_processes_and_ranks_give_the_bytes_of_one_thread(raw, key, tmp_path, monkeypatch):
    put(raw / "anna" / "broken.jpg", b"\xff\xd8 no photo")

    def run(name, workers=2):
        result = mask(raw, tmp_path / name, key=key, protect=MIXING, sources=tmp_path / f"{name}.csv", workers=workers)
        return tree(tmp_path / name), (tmp_path / f"{name}.csv").read_bytes(), result.refused

    one = run("one", workers=1)
    used, opened = [], worker_pool.WorkerPool
    monkeypatch.setattr(worker_pool, "WorkerPool", lambda *asked: used.append(1) or opened(*asked))
    monkeypatch.setattr(worker_pool, "ITEMS_A_WORKER", 0.01)
    assert run("processes") == one
    assert len(used) == 2  # to look at faces, and to mix them
    monkeypatch.setattr(worker_pool, "ITEMS_A_WORKER", 1e9)
    monkeypatch.setattr("facemae_cli.masking.job.UNIT", 8)
    monkeypatch.setattr("facemae_cli.masking.mix_job.UNIT", 3)
    ranks = run_ranks(2, tmp_path, lambda rank: as_rank(rank, lambda: run("ranks")[2]))
    assert ranks == [one[2], one[2]]
    assert (tree(tmp_path / "ranks"), (tmp_path / "ranks.csv").read_bytes()) == one[:2]


def as_rank(rank, work):
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    return work()


def test_a_new_key_is_made_of_one_look_at_the_faces_and_none_where_they_cannot_be_mixed(raw, tmp_path):
    listener, new = Listener(), tmp_path / "new.key"
    places = {"key": new, "protect": MIXING, "sources": tmp_path / "whom.csv"}
    with pytest.raises(UsageError, match="too few"):
        mask(raw, tmp_path / "out", **places | {"protect": Level(Mixing(people=5, copies=2), ratio=0.75)})
    assert not new.exists()
    made = mask(raw, tmp_path / "out", progress=listener, **places)
    assert made.key_id == Key.load(new).key_id
    assert [label for label, *_ in listener.stages] == ["look at faces", "mask"]
    mask(raw, tmp_path / "again", **places | {"sources": tmp_path / "again.csv"})
    assert tree(tmp_path / "again") == tree(tmp_path / "out")


def test_a_release_carries_on_that_it_is_mixed_and_leakage_asks_of_whom(raw, key, tmp_path):
    mask(raw, tmp_path / "masked", key=key, protect=MIXING, sources=tmp_path / "whom.csv")
    write_mae(tmp_path / "model")
    reconstruct(tmp_path / "masked", tmp_path / "released", model=str(tmp_path / "model"))
    mixing = read_manifest(tmp_path / "masked").extra["mixing"]
    assert read_manifest(tmp_path / "released").extra["mixing"] == mixing
    assert "moved and stretched a little" in (tmp_path / "released" / "README.md").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match=r"each face of .*released is made of several people: .* by --sources"):
        leakage(raw, tmp_path / "released", key=key, imitations=0)


def test_mixtures_are_warped_as_they_are_released_and_faces_of_one_person_are_not(raw, key, tmp_path):
    mask(raw, tmp_path / "mixed.rec", key=key, protect=MIXING, sources=tmp_path / "whom.csv")
    mask(raw, tmp_path / "plain.rec", key=key)
    write_mae(tmp_path / "model")
    network = load_mae(resolve(str(tmp_path / "model"), "mae"), torch.device("cpu")).eval()
    reader = MaskedReader(network.patch, digests=True)
    for name in ("mixed", "plain"):
        made = tmp_path / f"{name}-released.rec"
        reconstruct(tmp_path / f"{name}.rec", made, model=str(tmp_path / "model"), format="png", precision="fp32")
        masked, released = open_source(tmp_path / f"{name}.rec"), open_source(made)
        seen = reader(FaceChunk(masked, range(3)))
        faces = [*ReleasedWriter("png", 95).finished(*release([seen], Runner(Reconstructor(network), CPU, "fp32", 32)))]
        for number in range(3):
            expected = warp(faces[number], seen.digests[number]) if name == "mixed" else faces[number]
            assert np.abs(decode(released.read(number)).astype(int) - expected).max() <= 1


def test_whoever_withdraws_goes_with_every_face_that_shows_something_of_them(raw, key, tmp_path):
    table = tmp_path / "whom.csv"
    mask(raw, tmp_path / "masked", key=key, protect=MIXING, sources=table)
    gone = tmp_path / "gone.txt"
    gone.write_text("bert\n", encoding="utf-8")
    before = tree(tmp_path / "masked")
    with pytest.raises(UsageError, match="masked holds mixed faces: say of whom they were made by --sources"):
        withdraw([tmp_path / "masked"], people=gone, key=key)
    assert tree(tmp_path / "masked") == before
    result = withdraw([tmp_path / "masked"], people=gone, key=key, sources=table)
    with_bert = {face for face, parts in made_of(table).items() if "bert" in {person for person, _ in parts}}
    left = tree(tmp_path / "masked")
    assert result.datasets[0].withdrawn == len(with_bert)
    assert not [file for file in left if file.removesuffix(".png") in with_bert]
    kept = [file for file in before if file.endswith(".png") and file.removesuffix(".png") not in with_bert]
    assert kept
    assert all(left[file] == before[file] for file in kept)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"protect": "total"}, "--protect 'total' is not a level; the levels are light, strong"),
        ({"protect": "light", "ratio": 0.8}, "leave --ratio and --strategy out"),
        ({"protect": "light", "strategy": "eyes"}, "leave --ratio and --strategy out"),
        ({"protect": "light", "keep_names": True}, "leave --keep-names out"),
        ({"protect": Level(Mixing(5, 1), 0.75)}, "5 people are too few to mix 5 of them"),
    ],
)
def test_what_does_not_go_together_makes_nothing(raw, tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        mask(raw, tmp_path / "masked", key=tmp_path / "new.key", sources=tmp_path / "whom.csv", **options)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["raw"]


def test_a_list_of_sources_is_not_asked_for_in_vain(raw, key, tmp_path):
    with pytest.raises(UsageError, match=r"--sources .*whom.csv is written with --protect alone: add that"):
        mask(raw, tmp_path / "m", key=key, sources=tmp_path / "whom.csv")
    assert not (tmp_path / "m").exists()


def stopped(*arguments, **options):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("where", "name"), [(RecWriter, "seal"), (SideFile, "write"), (output, "_put_in_place")])
def test_the_list_of_one_run_never_serves_the_dataset_of_another(raw, key, tmp_path, monkeypatch, where, name):
    gone, table, out = tmp_path / "gone.txt", tmp_path / "whom.csv", tmp_path / "masked.rec"
    gone.write_text("bert\n")
    options = {"key": key, "protect": MIXING, "sources": table}
    mask(raw, out, exclude=gone, **options)
    old = table.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(where, name, stopped)
        with pytest.raises(KeyboardInterrupt):
            mask(raw, out, overwrite=True, **options)
    assert (table.read_bytes() == old) == (name != "_put_in_place")  # it changes in the last moment before the dataset
    copy = tmp_path / "copy.rec"
    convert(out, copy)
    gone.write_text("anna\n")
    if name == "_put_in_place":
        with pytest.raises(InputError, match=r"whom.csv is not of .*copy.rec, but of another run of mask: give"):
            withdraw([copy], people=gone, key=key, sources=table)
    else:
        assert withdraw([copy], people=gone, key=key, sources=table).datasets[0].withdrawn
    mask(raw, out, resume=True, **options)  # which goes on as it was begun
    assert table.read_bytes() != old
    assert withdraw([out], people=gone, key=key, sources=table).datasets[0].withdrawn
    # A list by hand names no dataset; older datasets name no list.
    rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join([rows[0], *rows[2:]]))
    with pytest.raises(InputError, match="of another run"):
        withdraw([copy], people=gone, key=key, sources=table)


def test_a_list_of_sources_replaces_nothing_that_is_something_else(raw, key, tmp_path):
    put(tmp_path / "whom.csv", b"my own table\n")
    for overwrite, said in ((False, "whom.csv exists"), (True, "is not a list of sources, so it stays")):
        with pytest.raises(UsageError, match=said):
            mask(raw, tmp_path / "m", key=key, protect=MIXING, sources=tmp_path / "whom.csv", overwrite=overwrite)
    with pytest.raises(UsageError, match=r"the\.key itself, which this command reads"):
        mask(raw, tmp_path / "m", key=key, protect=MIXING, sources=key, overwrite=True)
    with pytest.raises(UsageError, match="is inside the dataset"):
        mask(raw, tmp_path / "m", key=key, protect=MIXING, sources=raw / "whom.csv")
    assert not (tmp_path / "m").exists()


def test_the_list_of_a_dataset_that_stays_is_never_replaced(raw, key, tmp_path, monkeypatch):
    table, gone = tmp_path / "whom.csv", tmp_path / "gone.txt"
    gone.write_text("bert\n")
    options = {"key": key, "protect": MIXING, "sources": table}
    mask(raw, tmp_path / "a", **options)
    mask(raw, tmp_path / "plain", key=key)
    before = table.read_bytes()
    said = "whom.csv is the list of another dataset, which needs it: choose another --sources"
    for out in ("b", "plain"):
        for overwrite in (False, True):
            with pytest.raises(UsageError, match=said) as refused:
                mask(raw, tmp_path / out, exclude=gone, overwrite=overwrite, **options)
            assert "--overwrite" not in str(refused.value)
    with pytest.raises(UsageError, match=r"whom.csv exists: .* --overwrite to replace it"):
        mask(raw, tmp_path / "a", exclude=gone, **options)
    assert table.read_bytes() == before
    # What comes to stand there before a stopped run goes on is another's too, and the run ends with a list of its own.
    with monkeypatch.context() as patch:
        patch.setattr(SideFile, "write", stopped)
        with pytest.raises(KeyboardInterrupt):
            mask(raw, tmp_path / "a", exclude=gone, overwrite=True, **options)
    table.rename(tmp_path / "old.csv")
    mask(raw, tmp_path / "b", **options | {"protect": Level(Mixing(people=3, copies=1), ratio=0.75)})
    with pytest.raises(UsageError, match=rf"{said}, or --resume ends the stopped run in .*a.facemae-part"):
        mask(raw, tmp_path / "a", **options | {"overwrite": True})
    theirs = table.read_bytes()
    with pytest.raises(UsageError, match=said):
        mask(raw, tmp_path / "a", exclude=gone, resume=True, **options)
    assert table.read_bytes() == theirs
    mask(raw, tmp_path / "a", exclude=gone, resume=True, **options | {"sources": tmp_path / "a.csv"})
    gone.write_text("anna\n")
    for out, whom in (("a", "a.csv"), ("b", "whom.csv")):
        assert withdraw([tmp_path / out], people=gone, key=key, sources=tmp_path / whom).datasets[0].withdrawn


def test_flat_photos_have_nobody_to_be_mixed(tmp_path, key):
    raw = make_folder(tmp_path / "raw", {"": 5})
    with pytest.raises(UsageError, match="faces without a person cannot be mixed"):
        mask(raw, tmp_path / "masked", key=key, protect="light", sources=tmp_path / "whom.csv")


def test_the_command_says_what_was_mixed(raw, key, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["mask", "-i", "raw", "-o", "masked", "-k", "the.key", "--protect", "light", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["sources"] == "facemae.sources.csv"
    assert (said["level"], said["mixing"]) == ("light", {"people": 2, "copies": 3, "warp": 1.0})
    assert read_manifest(tmp_path / "masked").extra["level"] == "light"
    assert said["faces"]["out"] == 10 * said["mixing"]["copies"]
    assert (tmp_path / "facemae.sources.csv").is_file()
    protection = dict(inspect(tmp_path / "masked").summary())["protection"]
    assert protection.startswith("measured of a release of level light (1,529 people, reconstructed by mae-v1): ")
