"""Where anything is wrong with one dataset or the list, `withdraw` changes none, and says what to do."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from helpers.maskcases import OTHER, PEOPLE, Listener, key_file, listed, make_folder, tree

from facemae_cli.data.output import output
from facemae_cli.data.output.folder import FolderWriter
from facemae_cli.data.output.staging import Staging
from facemae_cli.errors import InputError, OutputError, UsageError
from facemae_cli.masking.key import Key
from facemae_cli.tasks.convert import convert
from facemae_cli.tasks.mask import mask
from facemae_cli.tasks.withdraw import withdraw

GONE = "family/Bartholomew Xq\u00e9zk"


def test_nothing_changes_where_anything_is_wrong(raw: Path, key: Path, tmp_path: Path) -> None:
    masked, strange = tmp_path / "masked", tmp_path / "strange"
    mask(raw, masked, key=key)
    make_folder(strange)
    before = tree(masked)
    wrong = key_file(tmp_path / "other.key", OTHER)
    cases = [
        ([masked], [GONE, "Ottoline-Vavasur"], key, "'Ottoline-Vavasur' matches nobody in"),
        ([masked], [GONE], wrong, "with another key"),
        ([masked, strange], [GONE], key, "carries no facemae.json"),
        ([masked], [*PEOPLE], key, "names everybody"),
        ([], [GONE], key, "no dataset is given"),
    ]
    for places, lines, with_key, told in cases:
        with pytest.raises(UsageError, match=told):
            withdraw(places, people=listed(tmp_path, *lines), key=with_key)
        assert tree(masked) == before
    with pytest.raises(InputError, match="names nobody"):
        withdraw([masked], people=listed(tmp_path, " "), key=key)


def test_a_rec_that_does_not_say_who_is_in_it_is_refused(raw: Path, key: Path, tmp_path: Path) -> None:
    mask(raw, tmp_path / "masked", key=key)
    convert(tmp_path / "masked", tmp_path / "o.rec")
    lst, places = tmp_path / "o.lst", [tmp_path / "masked", tmp_path / "o.rec"]
    before, whole = tree(tmp_path / "masked"), lst.read_bytes()
    for rest in (whole.partition(b"\n")[2], whole.replace(b"\t0\t", b"\t1\t"), None):
        lst.unlink() if rest is None else lst.write_bytes(rest)
        with pytest.raises(UsageError, match=r"o\.rec does not say .*: put .*o\.lst back"):
            withdraw(places, people=listed(tmp_path, GONE), key=key)
        assert tree(tmp_path / "masked") == before
    lst.write_bytes(whole)
    assert [one.withdrawn for one in withdraw(places, people=listed(tmp_path, GONE), key=key).datasets] == [3, 3]


def test_nothing_changes_where_a_later_dataset_cannot_be_written(raw: Path, key: Path, tmp_path: Path) -> None:
    places = [tmp_path / "masked", tmp_path / "second"]
    for place in places:
        mask(raw, place, key=key)
    empty = next(path for path in sorted(places[1].rglob("*.png")) if path.parent.name != Key.load(key).identity(GONE))
    empty.write_bytes(b"")
    before = [tree(place) for place in places]
    with pytest.raises(InputError, match=rf"{empty.name} cannot be kept \(.*nothing in it\): repair it"):
        withdraw(places, people=listed(tmp_path, GONE), key=key)
    assert [tree(place) for place in places] == before
    assert not list(tmp_path.glob("*.facemae-part"))


@pytest.mark.parametrize("inner", [False, True])
def test_nothing_changes_where_an_old_dataset_could_not_be_removed(
    raw: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: bool
) -> None:
    places = [tmp_path / "masked", tmp_path / "second"]
    for place in places:
        mask(raw, place, key=key)
    closed = next(path for path in places[1].iterdir() if path.is_dir()) if inner else places[1]
    before, real = [tree(place) for place in places], os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) != closed and real(path, mode)
    )  # as for all but root
    with pytest.raises(OutputError, match=f"{closed}: permission denied: allow writing there"):
        withdraw(places, people=listed(tmp_path, GONE), key=key)
    assert [tree(place) for place in places] == before
    assert not list(tmp_path.glob("*.facemae-part"))


def test_the_stopped_run_of_another_command_is_not_thrown_away(raw: Path, key: Path, tmp_path: Path) -> None:
    mask(raw, tmp_path / "masked", key=key)

    class Stop(Listener):
        def advance(self, count: int = 1, note: str = "") -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mask(raw, tmp_path / "masked", key=key, overwrite=True, progress=Stop())
    before = tree(tmp_path)
    with pytest.raises(
        UsageError, match=r"facemae-part is left from a stopped facemae mask: end that by --resume first"
    ):
        withdraw([tmp_path / "masked"], people=listed(tmp_path, GONE), key=key)
    assert tree(tmp_path) | before == tree(tmp_path)
    mask(raw, tmp_path / "masked", key=key, overwrite=True, resume=True)
    withdraw([tmp_path / "masked"], people=listed(tmp_path, GONE), key=key)
    assert not list(tmp_path.glob("*.facemae-part"))


def test_no_error_advises_an_option_that_is_not_there(raw: Path, key: Path, tmp_path: Path) -> None:
    folder, rec = tmp_path / "masked", tmp_path / "masked.rec"
    mask(raw, folder, key=key)
    mask(raw, rec, key=key)
    people = listed(tmp_path, GONE)

    def advice(place: Path) -> str:
        """What withdraw says to do, after what is wrong."""
        with pytest.raises((UsageError, OutputError)) as caught:
            withdraw([place], people=people, key=key)
        said = str(caught.value)
        assert "--" not in said
        return said.rpartition(": ")[2]

    with closing(Staging(tmp_path / "masked.facemae-part")):
        assert advice(folder) == "wait for it"
    (tmp_path / "masked.facemae-part").mkdir()
    (tmp_path / "masked.facemae-part" / "mine").touch()
    assert advice(folder) == "move it away"
    shutil.rmtree(tmp_path / "masked.facemae-part")
    (folder / "notes.txt").write_text("mine")
    assert advice(folder) == f"withdraw would remove it with {folder}; move it away"
    (folder / "notes.txt").rename(folder / "more.png")
    assert advice(folder) == "withdraw would remove what facemae did not make; move that away"
    (folder / "more.png").unlink()
    (tmp_path / "masked.README.md").write_text("mine")
    assert advice(rec) == f"withdraw would remove it with {rec}; move it away"
    (tmp_path / "masked.README.md").unlink()
    (tmp_path / "masked.parquet").touch()
    assert advice(rec) == "choose another name, or move that away"
    (tmp_path / "masked.parquet").unlink()
    (tmp_path / "masked.property").rename(tmp_path / "elsewhere")
    (tmp_path / "masked.property").mkdir()
    assert advice(rec) == "move it away"
    (tmp_path / "masked.property").rmdir()
    (tmp_path / "masked.property").symlink_to(tmp_path / "elsewhere")
    assert advice(rec) == "name the place it leads to, or remove it yourself"
    assert withdraw([folder], people=people, key=key).datasets[0].withdrawn == 3


def test_where_the_disk_fails_it_is_run_again_as_it_was(
    raw: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask(raw, tmp_path / "masked", key=key)
    people = listed(tmp_path, GONE)

    def full(writer: FolderWriter) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(writer.faces))

    with monkeypatch.context() as patch:
        patch.setattr(FolderWriter, "flush", full)
        with pytest.raises(OutputError, match=r": free some space, then run again$"):
            withdraw([tmp_path / "masked"], people=people, key=key)
    assert withdraw([tmp_path / "masked"], people=people, key=key).datasets[0].withdrawn == 3


def test_a_damaged_journal_of_its_own_is_removed_by_hand(
    raw: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask(raw, tmp_path / "masked", key=key)
    people, part = listed(tmp_path, GONE), tmp_path / "masked.facemae-part"

    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(output, "_put_in_place", stopped)
        with pytest.raises(KeyboardInterrupt):
            withdraw([tmp_path / "masked"], people=people, key=key)
    journal = (part / "journal").read_bytes()
    (part / "journal").write_bytes(b"[" + journal[1:])
    with pytest.raises(OutputError, match=r"is damaged at byte 0: remove the folder it is in$"):
        withdraw([tmp_path / "masked"], people=people, key=key)
    shutil.rmtree(part)
    assert withdraw([tmp_path / "masked"], people=people, key=key).datasets[0].withdrawn == 3
