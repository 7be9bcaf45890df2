"""Training batches: the same from any step, whoever asks; unreadable faces replaced and listed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.sources import memory_source, smooth_face

from facemae_cli.errors import InputError, UsageError
from facemae_cli.runtime import distributed
from facemae_cli.training.loader import FaceLoader, hold_out


def loader(people: int = 10, batch: int = 4, **changes: int) -> FaceLoader:
    source = memory_source(people, 1)
    return FaceLoader(source, range(len(source)), size=112, batch_size=batch, seed=5, **changes)


def test_an_epoch_shows_each_face_once_and_another_epoch_another_order() -> None:
    batches = loader()
    orders = []
    for epoch in (0, 1):
        samples = torch.cat([batch.samples for batch in batches.batches(epoch)]).tolist()
        assert len(samples) == len(set(samples)) == 8  # two full batches of ten faces
        orders.append(samples)
    assert orders[0] != orders[1]


def test_images_are_those_of_the_samples() -> None:
    batch = next(loader().batches(0))
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (4, 3, 112, 112)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    for image, sample in zip(batch.images, batch.samples.tolist(), strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), smooth_face(100 * sample))


def test_a_later_start_sees_what_an_unbroken_epoch_sees() -> None:
    whole = [batch.samples.tolist() for batch in loader(13, 3).batches(2)]
    rest = [batch.samples.tolist() for batch in loader(13, 3).batches(2, first_step=1)]
    assert rest == whole[1:]


def test_ranks_share_each_batch_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [batch.samples.tolist() for batch in loader(12, 4).batches(0)]
    monkeypatch.setattr(distributed, "world", lambda: 2)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append([batch.samples.tolist() for batch in loader(12, 4).batches(0)])
    assert [first + second for first, second in zip(*shares, strict=True)] == whole
    with pytest.raises(UsageError, match="--batch-size 5 cannot be shared by 2 ranks"):
        loader(12, 5)


def test_an_unreadable_face_is_replaced_by_the_next_and_listed_once() -> None:
    source = memory_source(4, 1)
    source.faces[1] = ("p1", "0.png", b"not an image")
    broken = FaceLoader(source, range(4), size=112, batch_size=4, seed=0)
    for epoch in (0, 1):
        batch = next(broken.batches(epoch))
        assert sorted(batch.samples.tolist()) == [0, 2, 2, 3]  # by its own number, not that of the one it stands for
        for at in (batch.samples == 2).nonzero():
            assert np.array_equal(batch.images[int(at)].permute(1, 2, 0).numpy(), smooth_face(200))
    assert [(item.where, item.reason) for item in broken.refused] == [("memory/p1/0.png", "not-an-image")]


def test_no_readable_face_at_all_is_an_error() -> None:
    source = memory_source(2, 1)
    source.faces = [(identity, photo, b"") for identity, photo, _ in source.faces]
    with pytest.raises(InputError, match="none of the 2 faces wanted of its 2 can be read: 0 bytes: there"):
        FaceLoader(source, range(2), size=112, batch_size=2, seed=0).load([0])


def test_a_batch_larger_than_the_dataset_is_refused() -> None:
    with pytest.raises(UsageError, match="--batch-size 11 is more than the 10 faces"):
        loader(10, 11)


def test_held_out_people_have_no_face_in_training() -> None:
    source = memory_source(20, 3)
    train, held = hold_out(source, 5, seed=1)
    assert sorted(train + held) == list(range(60))
    assert len(held) == 6  # two whole people make at least five faces
    assert not {source.name(i).identity for i in train} & {source.name(i).identity for i in held}
    assert (train, held) == hold_out(source, 5, seed=1) != hold_out(source, 5, seed=2)


def test_at_most_about_a_tenth_is_held_out_and_nameless_faces_are_people_of_their_own() -> None:
    source = memory_source(30, 1)
    source.faces = [(None, photo, data) for _, photo, data in source.faces]
    assert len(hold_out(source, 512, seed=0)[1]) == 3


def test_one_person_alone_cannot_be_split() -> None:
    with pytest.raises(InputError, match="1 person is too few"):
        hold_out(memory_source(1, 5), 2, seed=0)
