"""Releases whose faces were made of several people: what a file of sources says, and rates against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.audits import faces_of, hit_by_looping, named, seen

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.identification import FeatureSets, Plan, measure
from facemae_cli.evaluation.leakage.membership_attack import half, membership_attack
from facemae_cli.evaluation.leakage.name_check import _in_common
from facemae_cli.evaluation.leakage.sources import read_sources

PEOPLE, PHOTOS = 10, 3
FACES = [f"p{person}/{photo}.jpg" for person in range(PEOPLE) for photo in range(PHOTOS)]
MADE = [f"x{at % 7}/{at}.jpg" for at in range(24)]


def write(folder: Path, *rows: str, head: str = "released,person,photo") -> Path:
    (folder / "sources.csv").write_text("\n".join([head, *rows]))
    return folder / "sources.csv"


class Mixed:
    """Released faces of nobody, of one person, of two, and of three; photos that went into several faces or none."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.sources = [random.choice(len(FACES) - 3, at % 4, replace=False).tolist() for at in range(len(MADE))]
        rows = [
            f"{name.removesuffix('.jpg')},{','.join(FACES[source].split('/'))}"
            for name, sources in zip(MADE, self.sources, strict=True)
            for source in sources
        ]
        rows += [f"{name},," for name, sources in zip(MADE, self.sources, strict=True) if not sources]
        self.people = np.repeat(np.arange(PEOPLE), PHOTOS)
        self.real = seen(faces_of(self.people, 6, 0.5, seed))
        self.made = seen(
            np.stack([self.real.features[sources].sum(axis=0) for sources in self.sources])
            + random.normal(0, 0.3, (len(MADE), 6))
        )
        self.matching = read_sources(write(folder, *random.permutation(rows))).match(named(*FACES), named(*MADE))

    def queries(self, photo: str) -> list[tuple[int, list[int]]]:
        """The photos that ask, and the released faces each leaves out."""
        own = [[at for at, sources in enumerate(self.sources) if photo_ in sources] for photo_ in range(len(FACES))]
        return [(at, own[at] if photo == "other" else []) for at in range(len(FACES)) if photo == "other" or own[at]]

    def shows(self, face: int, person: int) -> bool:
        return any(self.people[source] == person for source in self.sources[face])

    def hits(self, photo: str, k: int) -> list[float]:
        found = []
        for query, out in self.queries(photo):
            gallery = [
                ("yes" if self.shows(at, self.people[query]) else "no", self.made.features[at])
                for at in range(len(MADE))
                if at not in out
            ]
            if (hit := hit_by_looping(self.real.features[query], "yes", gallery, k)) is not None:
                found.append(hit[0])
        return found


@pytest.mark.parametrize("photo", ["other", "same"])
def test_a_face_counts_for_each_of_its_people_as_in_plain_loops(photo: str, tmp_path: Path) -> None:
    mixed = Mixed(tmp_path)
    found = measure(FeatureSets("a", mixed.real, mixed.made), mixed.matching, Plan(ks=(1, 2, 5), resamples=20))
    rates = {each.k: each for each in found.findings if (each.attack, each.photo) == ("real_to_released", photo)}
    for k in (1, 2, 5):
        expected = mixed.hits(photo, k)
        assert rates[k].risk == pytest.approx(np.mean(expected), abs=1e-12)
        assert rates[k].queries == len(expected)


def test_membership_leaves_out_the_faces_of_half_of_the_people(tmp_path: Path) -> None:
    mixed = Mixed(tmp_path)
    sets = FeatureSets("a", mixed.real, mixed.made)
    findings, missing = membership_attack(sets, mixed.matching, None, seed=3, resamples=16)
    assert missing == []
    aucs = []
    for split in range(8):
        left_out = set(half(mixed.matching.both, 3, split).tolist())
        best: dict[int, float] = {}
        for query, out in mixed.queries("other"):
            person = int(mixed.people[query])
            if not any(mixed.shows(at, person) for at in range(len(MADE)) if at not in out):
                continue
            scores = [
                float(mixed.real.features[query].astype(float) @ mixed.made.features[at].astype(float))
                for at in range(len(MADE))
                if at not in out and not any(mixed.shows(at, gone) for gone in left_out)
            ]
            best[person] = max([best.get(person, -np.inf), *scores])
        inside = [score for person, score in best.items() if person not in left_out]
        outside = [score for person, score in best.items() if person in left_out]
        aucs.append(np.mean([(a > b) + (a == b) / 2 for a in inside for b in outside]))
    assert findings[0].membership.auc == pytest.approx(np.mean(aucs), abs=1e-9)


def test_sources_of_one_are_what_names_say(tmp_path: Path) -> None:
    rows = [f"{name},{name.split('/')[0]},{name.split('/')[1]}" for name in FACES[:-2]]
    told = read_sources(write(tmp_path, *rows)).match(named(*FACES), named(*FACES[:-2]))
    assert (told.names.by, told.names.people, told.names.joined, told.names.joinable) == ("sources", 10, 28, 28)
    known = "28 of 28 photos that released faces were made of are among the originals"
    assert told.names.lines()[0] == f"10 in both datasets by --sources; {known}"
    assert told.names.photos_join
    assert told.shown.tolist() == told.real[:-2, None].tolist()
    assert told.own_faces[:, 0].tolist() == [*range(28), -1, -1]
    assert [told.labels[person] for person in told.released.tolist()] == [name.split("/")[0] for name in FACES[:-2]]
    assert not told.doubtful.any()


def test_photos_that_are_not_said_leave_other_photos_unmeasured(tmp_path: Path) -> None:
    rows = [f"{name},{name.split('/')[0]}" for name in FACES]
    told = read_sources(write(tmp_path, *rows, head="Released;Person".replace(";", ","))).match(
        named(*FACES), named(*FACES)
    )
    assert (told.names.people, told.names.joined, told.names.photos_join) == (10, 0, False)
    assert told.doubtful.all()


def test_people_who_are_not_among_the_originals_are_counted(tmp_path: Path) -> None:
    rows = [f"{name},{name.split('/')[0].replace('p1', 'q1')},{name.split('/')[1]}" for name in FACES]
    names = read_sources(write(tmp_path, *rows)).match(named(*FACES), named(*FACES)).names
    assert (names.people, names.only_original, names.only_released, names.unmatched) == (9, 1, 1, 0.1)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["a/1,p1,0"], "1 of 2 released faces have no row, such as 'a/2'"),
        (["a/1,q1,0", "a/2,q2,0"], "none of its 2 people is among the originals"),
        (["a/1,p1", "a/2,p1,0"], "line 2: give a released face and its person, under 3 headings"),
        ([",p1,0"], "line 2: give a released face"),
    ],
)
def test_files_that_do_not_say_it_are_refused(rows: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        read_sources(write(tmp_path, *rows)).match(named(*FACES), named("a/1.jpg", "a/2.jpg"))
    with pytest.raises(InputError, match="the columns are released, person, photo"):
        read_sources(write(tmp_path, *rows, head="face,person,photo"))


def test_faces_have_a_person_in_common() -> None:
    people = np.array([[[1, 2], [2, -1], [3, -1], [-1, -1]]])
    assert _in_common(people, people[:, :1]).tolist() == [[True, True, False, False]]
