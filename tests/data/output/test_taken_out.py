"""Nobody who was taken out of a dataset comes back unseen with a run that replaces it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.maskcases import Listener

from facemae_cli.data.manifest import Manifest, manifest_path, write_manifest
from facemae_cli.data.output.taken_out import require_list, taken_out, warn_of_return
from facemae_cli.errors import UsageError


def dataset(tmp_path: Path, **extra: int) -> Path:
    out = tmp_path / "masked.rec"
    write_manifest(manifest_path(out), Manifest("mask", extra=extra))
    return out


def test_withdrawn_and_excluded_images_are_counted_together() -> None:
    assert taken_out(None) == taken_out(Manifest("mask", extra={"withdrawn": "several"})) == 0
    assert taken_out(Manifest("mask", extra={"withdrawn": 3, "excluded": 2})) == 5


def test_whom_others_withdrew_is_not_masked_again_without_a_list(tmp_path: Path) -> None:
    require_list(tmp_path / "none", 0)
    require_list(dataset(tmp_path, excluded=3), 0)
    out = dataset(tmp_path, withdrawn=3)
    require_list(out, 3)
    with pytest.raises(UsageError, match=r"3 images were withdrawn from .*masked.rec and would be in it again: --excl"):
        require_list(out, 2)


@pytest.mark.parametrize(
    ("left_out", "said"), [(0, "none is left out"), (1, "only 1 is"), (4, "only 4 are"), (5, None), (6, None)]
)
def test_a_run_that_leaves_fewer_out_is_told(tmp_path: Path, left_out: int, said: str | None) -> None:
    told = Listener()
    warn_of_return(tmp_path / "none", left_out, told)
    warn_of_return(dataset(tmp_path, withdrawn=3, excluded=2), left_out, told)
    assert len(told.lines) == (said is not None)
    assert all(str(said) in line and line.startswith("5 images were") for line in told.lines)
