"""What an audit reads: the originals, the release, and, where given, non-members and the attacker's own faces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceSource, NotRead, Refusal, first, no_faces
from facemae_cli.data.images.codec import decode_masked
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import ACCEPTED, open_source
from facemae_cli.errors import AllRefused, FaceError, InputError, UsageError
from facemae_cli.evaluation.leakage.duplicates import look_alike
from facemae_cli.evaluation.leakage.fingerprints import Scan
from facemae_cli.evaluation.leakage.matching import Matching, find_key, match_names, people_of, unmeasured
from facemae_cli.evaluation.leakage.sources import read_sources
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.inference.embed import refusals
from facemae_cli.masking.patches import read_mask


@dataclass(frozen=True)
class Datasets:
    """What is audited; `manifest` is the release's; `masked`: whether it is masked faces, not reconstructed ones."""

    original: FaceSource
    released: FaceSource
    non_members: FaceSource | None
    adapt: FaceSource | None
    manifest: Manifest | None
    masked: bool

    @property
    def sources(self) -> dict[str, FaceSource]:
        """The datasets by name."""
        named = {
            "original": self.original,
            "released": self.released,
            "non-members": self.non_members,
            "adapt": self.adapt,
        }
        return {name: source for name, source in named.items() if source is not None}

    @property
    def refused(self) -> list[Refusal]:
        """What could not be taken for a face when the datasets were listed."""
        return [item for source in self.sources.values() for item in source.refused]

    @property
    def not_read(self) -> dict[str, NotRead]:
        """What of each dataset's place is not part of it, by the option that gave the dataset."""
        return {f"--{name}": NotRead.of(source) for name, source in self.sources.items()}

    @property
    def non_member_people(self) -> People | None:
        """The people of the non-members' faces, by number."""
        return None if self.non_members is None else people_of(self.non_members)


def open_datasets(original: Path, released: Path, non_members: Path | None, adapt: Path | None) -> Datasets:
    """Opens the datasets. Raises UsageError and InputError."""
    sources = [None if path is None else _opened(path) for path in (original, released, non_members, adapt)]
    assert sources[0] is not None
    assert sources[1] is not None
    manifest = read_manifest(sources[1].path)
    return Datasets(sources[0], sources[1], sources[2], sources[3], manifest, _is_masked(sources[1], manifest))


def _is_masked(released: FaceSource, manifest: Manifest | None) -> bool:
    """By its manifest, or by its first faces."""
    if manifest is not None and manifest.command in ("mask", "reconstruct"):
        return manifest.command == "mask"
    for index in first(released):
        try:
            read_mask(decode_masked(released.read(index)))
        except FaceError:
            return False
    return len(released) > 0


def _opened(path: Path) -> FaceSource:
    source = open_source(path, whole=True)  # who has the file has what an index leaves out
    if not len(source) and not source.refused:
        raise InputError(no_faces(source, f"give {ACCEPTED}"))
    return source


def match_people(data: Datasets, key: Path | None, sources: Path | None = None) -> tuple[Matching, list[str]]:
    """Who is who in originals and release, by names or by the key in `key`, or as the file `sources` says; and what
    cannot be measured for want of it.

    Raises UsageError for a mixed release without `sources` and for a key that is not the release's, InputError for a
    file that does not say it.
    """
    if sources is not None:
        told = read_sources(sources).match(data.original, data.released)
        return told, unmeasured(told.names, None)
    if data.manifest is not None and data.manifest.mixed_people:
        raise UsageError(
            f"each face of {data.released.path} is made of several people: say of whom by --sources, the file that "
            "`mask --protect` wrote (facemae.sources.csv)"
        )
    keyed = data.manifest is not None and data.manifest.names == "keyed"
    places = [source.path for source in (data.original, data.released)]

    def matches_without() -> bool:
        return match_names(data.original, data.released, None, keyed).names.people > 0

    secret = find_key(key, data.manifest, places, matches_without)
    matching = match_names(data.original, data.released, secret, keyed)
    return matching, unmeasured(matching.names, secret)


OTHERS = {  # datasets of other people, and what comes of it where some are those of the originals
    "non-members": "members who count as non-members make membership look harder to tell than it is",
    "adapt": "attackers who learn from the people they look for find more than others would",
}


def overlapping(data: Datasets, scans: Mapping[str, Scan], device: str) -> dict[str, NDArray[np.bool_]]:
    """Of each dataset of other people, (n,) which faces are of people with a photo, byte for byte or nearly, among the
    originals or in the release. Raises InputError where nobody else is there."""
    found = {}
    for name in (name for name in OTHERS if name in data.sources):
        source, scan = data.sources[name], scans[name]
        known = scans["original"].known | scans["released"].known
        met = np.array([face in known for face in scan.digests], np.bool_)
        met |= look_alike(scan, scans["original"], device)
        people = people_of(source)
        found[name] = np.isin(people, people[met])
        if not (scan.valid & ~found[name]).any():
            raise InputError(
                f"--{name} {source.path}: each of its people has a photo among the originals or in the release, and "
                f"{OTHERS[name]}: give faces of other people"
            )
    return found


def of_the_same_name(original: FaceSource, others: FaceSource, known: NDArray[np.bool_]) -> int:
    """How many people of `others`, but for those who are `known`, have the name of somebody among the originals; bare
    numbers are no names."""
    names = {original.name(index).identity for index in range(len(original))}
    left = {others.name(index).identity for index in np.flatnonzero(~known).tolist()}
    return sum(name is not None and not name.isdigit() for name in names & left)


def require_faces(data: Datasets, scans: Mapping[str, Scan]) -> list[Refusal]:
    """What of all datasets cannot be read. Raises AllRefused where that is every face of the originals or the release,
    or all that non-members and the attacker's own people have."""
    refused = data.refused
    for name, source in data.sources.items():
        refused += refusals(source, np.flatnonzero(~scans[name].valid).tolist())
    for name, source in data.sources.items():
        if not scans[name].valid.any():
            raise AllRefused(f"--{name} {source.path}: not one of its faces can be read: see why above", refused)
    return refused


def remarks(data: Datasets, overlaps: Mapping[str, NDArray[np.bool_]]) -> Iterator[str]:
    """What a person should know of the datasets of other people, of which the faces in `overlaps` are left out."""
    for name in (name for name in OTHERS if name in overlaps):
        source, known = data.sources[name], overlaps[name]
        if known.any():
            count = len(np.unique(people_of(source)[known]))
            yield f"{count} people of --{name} are left out: a photo of theirs is among the other faces"
        if named := of_the_same_name(data.original, source, known):
            yield (
                f"{named} people of --{name} have names of people among the originals: if they are the same, take "
                f"them out, since {OTHERS[name]}"
            )
