"""Mixed faces, pixel by pixel against a loop over patches; and what is refused before any is made."""

import cv2
import numpy as np
import pytest
from helpers.maskcases import encoded, make_folder, pixels, put, rgba

from facemae_cli.data.images.codec import decode
from facemae_cli.data.open import open_source
from facemae_cli.errors import InputError, UsageError
from facemae_cli.masking import patches
from facemae_cli.masking.job import MaskedFace, Masker, MaskJob
from facemae_cli.masking.key import Key
from facemae_cli.masking.mix_job import MixJob, Surveyed
from facemae_cli.masking.mixing import Mixing
from facemae_cli.masking.regions import owners
from facemae_cli.runtime.progress import SILENT

KEY = Key(bytes(range(32)))
PEOPLE = {"anna": 2, "bert": 3, "cleo": 1, "dora": 2}


def surveyed(folder, mixing=Mixing(3, 2), masker=Masker(key=KEY)):  # noqa: B008
    faces = MaskJob.of(open_source(folder), masker, KEY)
    return MixJob.plan_of(faces, Surveyed.of(faces, 1, SILENT), mixing)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return surveyed(make_folder(tmp_path_factory.mktemp("raw"), PEOPLE))


def masked(job: MixJob, number: int) -> MaskedFace:
    made = job.face(number)
    assert isinstance(made, tuple)
    assert made[0] == job.mixtures[number].name
    return made[1]


def shown(job: MixJob, number: int) -> tuple[np.ndarray, np.ndarray]:
    """A photo as it is mixed, and the patches that may be seen of it, found the slow way."""
    image = decode(job.source.read(number))
    digest = patches.photo_digest(KEY.mask_key, image.shape[:2], image.tobytes())
    return image.astype(float), ~patches.hidden("random", patches.order_of(digest))


def test_each_patch_is_its_owners_in_the_middle_of_all_colours(job):
    for number, mixture in enumerate(job.mixtures):
        face = rgba(masked(job, number).image)
        owner = owners(mixture.label, 3)
        photos, seen, means, contrasts = [], [], [], []
        for part in mixture.parts:
            image, visible = shown(job, part.number)
            raw = decode(job.source.read(part.number)).astype(float)
            own = np.stack([raw[8 * (t // 14) :, 8 * (t % 14) :][:8, :8] for t in range(196) if visible[t]])
            means.append(own.mean(axis=(0, 1, 2)))
            contrasts.append(own.reshape(-1, 3).std(axis=0).mean() + 4)
            photos.append(image[:, ::-1] if part.mirrored else image)
            seen.append(visible.reshape(14, 14)[:, ::-1].reshape(196) if part.mirrored else visible)
        expected = [token for token in range(196) if seen[owner[token]][token]]
        expected = expected[: len(expected) // 4 * 4]
        for token in range(196):
            place = np.s_[8 * (token // 14) : 8 * (token // 14) + 8, 8 * (token % 14) : 8 * (token % 14) + 8]
            if token not in expected:
                assert not face[place].any()
                continue
            who = owner[token]
            gain = np.clip(np.mean(contrasts) / contrasts[who], 0.5, 2)
            colors = ((photos[who][place] - means[who]) * gain + np.mean(means, axis=0)).clip(0, 255)
            assert np.abs(face[place][..., :3] - colors).max() < 0.51
            assert (face[place][..., 3] == 255).all()


def test_all_copies_together_show_no_patch_of_a_photo_that_its_mask_hides(job):
    used = {number: np.zeros(196, np.bool_) for number in range(len(job.names))}
    for number, mixture in enumerate(job.mixtures):
        visible = ~patches.read_mask(rgba(masked(job, number).image))
        owner = owners(mixture.label, 3)
        for place, part in enumerate(mixture.parts):
            taken = visible & (owner == place)
            used[part.number] |= taken.reshape(14, 14)[:, ::-1].reshape(196) if part.mirrored else taken
    for number, taken in used.items():
        assert taken.any()
        assert not (taken & ~shown(job, number)[1]).any()


def test_sources_say_of_whom_each_face_is(job):
    table, code = job.sources()
    lines = table.splitlines()
    assert lines[0] == "released,person,photo"
    assert len(lines) == 2 + 3 * len(job.mixtures)
    assert lines[1] == f"facemae:{code},,"  # the code is keyed: it confirms no guess of who is whom
    assert code == job.key.sources("".join(f"{line}\n" for line in lines[2:]))
    assert code != Key(bytes(32)).sources("".join(f"{line}\n" for line in lines[2:]))
    first = job.mixtures[0]
    name = job.names[first.parts[0].number]
    assert lines[2] == f"{first.name.identity}/{first.name.photo},{name.identity},{name.photo}"


def test_photos_that_cannot_be_masked_are_in_no_mixture(tmp_path):
    raw = make_folder(tmp_path / "raw", PEOPLE)
    put(raw / "bert" / "broken.jpg", b"\xff\xd8 no photo")
    found = surveyed(raw)
    assert [(item.where, len(found.source)) for item in found.source.refused] == [(str(raw / "bert/broken.jpg"), 8)]
    assert len(found.mixtures) == 16
    assert all(isinstance(found.face(number), tuple) for number in range(16))


def test_no_face_at_all_is_refused_as_a_whole(tmp_path):
    for person in PEOPLE:
        put(tmp_path / "raw" / person / "1.jpg", b"\xff\xd8 no photo")
    with pytest.raises(InputError, match=r"every input is refused \(4 not-an-image\)"):
        surveyed(tmp_path / "raw")


def test_faces_of_several_sizes_need_one(tmp_path):
    raw = make_folder(tmp_path / "raw", PEOPLE)
    put(raw / "anna" / "large.png", encoded(pixels(9, 224, 224), ".png"))
    with pytest.raises(
        UsageError, match=r"2 sizes \(112x112, 224x224\) cannot be mixed: make them one size, as `mask --size 112`"
    ):
        surveyed(raw)
    made = masked(surveyed(raw, masker=Masker(key=KEY, size=112)), 0)
    assert rgba(made.image).shape == (112, 112, 4)


def test_an_even_photo_is_not_amplified(tmp_path):
    raw = make_folder(tmp_path / "raw", PEOPLE)
    put(raw / "anna" / "even.png", encoded(np.full((112, 112, 3), 100, np.uint8), ".png"))
    found = surveyed(raw)
    even = next(number for number, name in enumerate(found.names) if name.photo == "even.png")
    assert found.surveyed.found[even].contrast == 4
    mixture = next(number for number, each in enumerate(found.mixtures) if each.parts[0].number == even)
    assert cv2.cvtColor(rgba(masked(found, mixture).image), cv2.COLOR_RGBA2GRAY).std() > 0
