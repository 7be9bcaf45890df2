"""Any number of worker processes gives the bytes of one thread."""

from __future__ import annotations

from pathlib import Path

import pytest
from crash.kills import files
from helpers.models import write_mae
from helpers.releases import write_faces

import facemae_cli
from facemae_cli.runtime import worker_pool


def test_processes_give_the_bytes_of_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_faces(tmp_path / "raw", range(6))
    (tmp_path / "raw" / "broken.png").write_bytes(b"no image")
    model = str(write_mae(tmp_path / "mae"))
    made, used = [], []
    opened = worker_pool.WorkerPool
    monkeypatch.setattr(worker_pool, "WorkerPool", lambda *asked: used.append(1) or opened(*asked))
    monkeypatch.setattr(worker_pool, "ITEMS_A_WORKER", 0.01)
    for workers in (1, 2):
        place = tmp_path / str(workers)
        masked = facemae_cli.mask(tmp_path / "raw", place / "masked", key=tmp_path / "key", workers=workers)
        facemae_cli.reconstruct(
            place / "masked", place / "train.rec", model=model, batch_size="4", workers=workers, device="cpu"
        )
        made.append((files(place), [(each.where, each.reason) for each in masked.refused]))
    assert made[0] == made[1]
    assert len(used) == 2
    assert len(made[0][1]) == 1
