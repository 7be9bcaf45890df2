"""One output by several ranks: the same bytes on any number of them, after a kill, and one error for all."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.models import write_mae
from helpers.ranks import run_ranks

from facemae_cli.data.faces import Name
from facemae_cli.data.synthetic import write_dataset
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.masking import job as masker
from facemae_cli.runtime import shared_output
from facemae_cli.tasks.mask import mask
from facemae_cli.tasks.reconstruct import reconstruct


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "raw"
    write_dataset(folder, 5, 2)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more than a beginning")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def on_ranks(world: int, folder: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> list[Any]:
    monkeypatch.setenv("WORLD_SIZE", str(world))
    store = folder / f"ranks-{world}"
    store.mkdir(exist_ok=True)
    made = run_ranks(world, store, lambda rank: work())
    monkeypatch.delenv("WORLD_SIZE")
    return made


@pytest.mark.parametrize("world", [2, 3])
def test_units_are_made_by_turns_and_written_in_order(
    world: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> tuple[list[int], list[int]]:
        mine: list[int] = []

        def make(units: Sequence[int]) -> Generator[int, None, None]:
            for unit in units:
                mine.append(unit)
                yield unit * unit

        return list(shared_output.run_sharded(range(7), make)), mine

    made = on_ranks(world, tmp_path, monkeypatch, work)
    assert [found for found, _ in made] == [[n * n for n in range(7)]] + [[]] * (world - 1)
    assert [mine for _, mine in made] == [list(range(rank, 7, world)) for rank in range(world)]


def test_an_error_of_the_first_is_everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def refused() -> Generator[None, None, None]:
        raise UsageError("there is no room")
        yield

    def work() -> str:
        with pytest.raises(UsageError, match="no room"), shared_output.rank_zero_context(refused):
            pass
        return "raised"

    assert on_ranks(2, tmp_path, monkeypatch, work) == ["raised"] * 2


def test_alone_nothing_is_shared() -> None:
    def make(units: Sequence[int]) -> Generator[int, None, None]:
        yield from units

    assert list(shared_output.run_sharded([3, 1], make)) == [3, 1]
    assert shared_output.broadcast("x") == shared_output.rank_zero_first(lambda: "x") == "x"


def test_a_refusal_arrives_as_it_was() -> None:
    found = pickle.loads(pickle.dumps(FaceError("truncated", "photo.jpg ends early")))
    assert (found.reason, found.detail, str(found)) == ("truncated", "photo.jpg ends early", "photo.jpg ends early")


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", ["out", "out.rec"])
def test_mask_and_reconstruct_write_the_same_bytes_on_any_number_of_ranks(
    world: int, name: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masker, "UNIT", 3)
    model = str(write_mae(tmp_path / "mae"))
    places = [tmp_path / kind for kind in ("alone", "together")]

    def work(place: Path) -> list[Any]:
        masked = mask(raw, place / "masked" / name, key=tmp_path / "facemae.key")
        released = reconstruct(place / "masked" / name, place / "released" / name, model=model, batch_size="1")
        return [masked.faces, len(masked.refused), released.faces, masked.identities]

    for place in places:
        place.mkdir()
    assert work(places[0]) == [10, 1, 10, 5]
    assert on_ranks(world, tmp_path, monkeypatch, lambda: work(places[1])) == [[10, 1, 10, 5]] * world
    assert files(places[0]) == files(places[1])


def test_what_one_rank_began_two_go_on_with(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masker, "UNIT", 2)
    options: dict[str, Any] = {"key": tmp_path / "facemae.key"}
    mask(raw, tmp_path / "whole", **options)
    face, masked = masker.Masker.face, []

    def stop(self: masker.Masker, data: bytes, name: Name) -> Any:
        masked.append(name)
        if len(masked) > 6:
            raise KeyboardInterrupt
        return face(self, data, name)

    with monkeypatch.context() as patch:
        patch.setattr(masker.Masker, "face", stop)
        with pytest.raises(KeyboardInterrupt):
            mask(raw, tmp_path / "part", **options)
    on_ranks(2, tmp_path, monkeypatch, lambda: mask(raw, tmp_path / "part", resume=True, **options).faces)
    assert files(tmp_path / "part") == files(tmp_path / "whole")
