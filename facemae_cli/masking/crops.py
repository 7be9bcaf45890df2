"""What can be an aligned face crop, by its size alone; of what cannot, one patch may hold a whole face."""

from __future__ import annotations

from facemae_cli.errors import FaceError

MARGIN = 1 / 8  # by how much of the longer side the shorter one may be shorter
MAX_SIDE = 256  # pixels: of a larger picture a patch takes over 18, in which small faces can be recognised


def check_crop(width: int, height: int, size: int | None = None) -> None:
    """Raises FaceError `not-a-crop` for a picture of `width` x `height` pixels that cannot be an aligned face crop: one
    that is not square within MARGIN, or, where `size` does not make it that size first, one larger than MAX_SIDE."""
    shorter, longer = sorted((width, height))
    if shorter < (1 - MARGIN) * longer:
        limit = "these are square, within an eighth"
    elif size is None and longer > MAX_SIDE:
        limit = f"these are at most {MAX_SIDE} a side; of crops that are larger, `mask --size 112` makes such"
    else:
        return
    raise FaceError(
        "not-a-crop",
        f"{width}x{height} pixels are not an aligned face crop ({limit}): a whole face may fit one patch. "
        "`facemae align` makes crops of photos; --allow-unaligned masks it all the same",
    )


def can_be_crop(width: int, height: int) -> bool:
    """Whether `check_crop` lets a picture of this size pass."""
    try:
        check_crop(width, height)
    except FaceError:
        return False
    return True
