"""Images that were taken out of a dataset on request, and would come back with a run that replaces it."""

from __future__ import annotations

from pathlib import Path

from facemae_cli.data.manifest import Manifest, own_manifest
from facemae_cli.data.names import one_line
from facemae_cli.errors import UsageError
from facemae_cli.runtime.progress import Progress


def taken_out(manifest: Manifest | None) -> int:
    """How many images were left out of a dataset as it was made, or withdrawn from it since, by its own account."""
    return 0 if manifest is None else _count(manifest, "excluded") + _count(manifest, "withdrawn")


def require_list(out: Path, left_out: int) -> None:
    """Raises UsageError where more images were withdrawn from the dataset at `out` than the `left_out` that its input
    is without already, for a run that replaces it and was not told whom to leave out."""
    before = own_manifest(out)
    withdrawn = 0 if before is None else _count(before, "withdrawn")
    if withdrawn > left_out:
        raise UsageError(
            f"{_were(withdrawn)} withdrawn from {one_line(str(out))} and would be in it again: --exclude FILE leaves "
            "out whom FILE lists; where the input is without them, remove the old dataset yourself"
        )


def warn_of_return(out: Path, left_out: int, progress: Progress) -> None:
    """A notice where more images were taken out of the dataset at `out` than the `left_out` that the run which is to
    replace it, and its input, are without."""
    before = taken_out(own_manifest(out))
    if before > left_out:
        now = "none is" if left_out == 0 else "only 1 is" if left_out == 1 else f"only {left_out} are"
        progress.notice(
            f"{_were(before)} withdrawn from {one_line(str(out))} or left out of it on request, and {now} left out of "
            "what replaces it: see that nobody comes back who must not"
        )


def _count(manifest: Manifest, key: str) -> int:
    count = manifest.extra.get(key)
    return count if type(count) is int else 0


def _were(images: int) -> str:
    return "1 image was" if images == 1 else f"{images} images were"
