"""What size alone says of a picture: whether it can be an aligned crop."""

from __future__ import annotations

import pytest

from facemae_cli.errors import FaceError
from facemae_cli.masking.crops import can_be_crop, check_crop


@pytest.mark.parametrize(
    ("width", "height"), [(112, 112), (14, 14), (98, 112), (112, 98), (224, 224), (256, 256), (224, 256)]
)
def test_crops_pass(width: int, height: int) -> None:
    check_crop(width, height)
    assert can_be_crop(width, height)


@pytest.mark.parametrize(
    ("width", "height", "limit"),
    [
        (4032, 3024, "square, within an eighth"),
        (640, 480, "square, within an eighth"),
        (97, 112, "square, within an eighth"),
        (112, 97, "square, within an eighth"),
        (257, 257, "at most 256 a side"),
        (3024, 3024, "at most 256 a side"),
    ],
)
def test_photos_do_not(width: int, height: int, limit: str) -> None:
    with pytest.raises(FaceError) as caught:
        check_crop(width, height)
    assert caught.value.reason == "not-a-crop"
    for part in (f"{width}x{height}", limit, "`facemae align`", "--allow-unaligned"):
        assert part in caught.value.detail
    assert "\n" not in caught.value.detail
    assert not can_be_crop(width, height)


def test_a_large_crop_passes_where_it_is_made_small_first() -> None:
    check_crop(1024, 1024, size=112)
    with pytest.raises(FaceError, match="square"):
        check_crop(640, 480, size=112)
