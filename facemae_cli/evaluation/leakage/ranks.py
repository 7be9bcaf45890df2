"""Where each query's own person stands among a gallery: what the rule for ties needs, counted exactly.

A face's score is its float64 inner product with the query. Around the person's best score b, faces scoring above
b + TIE are `above`, those in [b - TIE, b + TIE] are `tied`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.retrieval import (
    Backend,
    Candidates,
    Features,
    Rows,
    Scores,
    candidates,
    columns,
    top_k,
)
from facemae_cli.runtime.progress import SILENT, Progress

TIE = 1e-6
Found = TypeVar("Found")
ROWS, COLUMNS = 1024, 4096  # of the largest float64 block of scores


@dataclass(frozen=True)
class GenuineMatches:
    """Each query's own person in the gallery.

    `count`: (n,) int64 faces of that person, the excluded one not counted; `best`: (n,) float64 the highest score of
    these, -inf where there is none; `row`: (n,) int64 the gallery row that has it, -1 there.
    """

    count: People
    best: Scores
    row: Rows


@dataclass(frozen=True)
class Ranks:
    """How n queries' people stand, for every K up to `k`.

    `above`: (n,) int64 faces above the tie group of the person's best, at most `k`; `tied`: faces in that group, `own`
    of them the person's, both 0 where `above` is `k`; `gallery`: faces searched; `genuine`: the person's faces among
    these, 0 where the person is not there, who then stands as `above` = k. Excluded faces count nowhere.
    `best`, `row`: the person's nearest face (`GenuineMatches`).
    """

    k: int
    above: People
    tied: People
    own: People
    gallery: People
    genuine: People
    best: Scores
    row: Rows

    def __len__(self) -> int:
        return len(self.above)


def concatenate_ranks(parts: Sequence[Ranks]) -> Ranks:
    """The ranks of consecutive shares of the queries (of several ranks, say) as one."""
    arrays = [item.name for item in fields(Ranks) if item.name != "k"]
    return Ranks(parts[0].k, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays})


def rank_queries(
    queries: Features,
    gallery: Features,
    query_people: People,
    gallery_people: People,
    k: int,
    *,
    exclude: Rows | None = None,
    device: str = "cpu",
    backend: Backend = "auto",
    progress: Progress = SILENT,
) -> Ranks:
    """Where the people of `queries` (n, D) stand in `gallery` (N, D), float32 rows of length 1, for all K up to `k`.

    query_people: (n,), gallery_people: (N,) int64, equal for the same person, or (N, S) where a face shows several
    people, -1 for none. `exclude`, `device`, `backend` and the
    errors are those of `retrieval.top_k`. Lists of the k and a few more nearest settle nearly all queries; where ties
    reach over a list's end, the whole gallery is counted in float64.
    """
    gallery_people = columns(gallery_people)
    genuine = find_genuine_matches(queries, gallery, query_people, gallery_people, exclude=exclude)
    ranks = _none_found(k, len(gallery), exclude, genuine)
    search = candidates(queries, gallery, k, exclude=exclude, device=device, backend=backend, progress=progress)
    open_queries = [_settle(ranks, found, query_people, gallery_people) for found in search]
    left = np.concatenate([np.empty(0, np.int64), *open_queries])
    for first in range(0, len(left), ROWS):
        _count(ranks, left[first : first + ROWS], queries, gallery, query_people, gallery_people, exclude)
    return ranks


def rank_over_ranks(
    queries: Features,
    gallery: Features,
    query_people: People,
    gallery_people: People,
    k: int,
    *,
    exclude: Rows | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> Ranks:
    """As `rank_queries`, each of several processes asking with its share of the queries; all get all."""

    def ranked(part: slice) -> Ranks:
        return rank_queries(
            queries[part],
            gallery,
            query_people[part],
            gallery_people,
            k,
            exclude=None if exclude is None else exclude[part],
            device=device,
            progress=progress,
        )

    return concatenate_ranks(_shared_out(len(queries), ranked))


def nearest_over_ranks(
    queries: Features,
    gallery: Features,
    k: int,
    *,
    exclude: Rows | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> tuple[Scores, Rows]:
    """As `retrieval.top_k`, each of several processes asking with its share of the queries; all get all."""

    def nearest(part: slice) -> tuple[Scores, Rows]:
        left_out = None if exclude is None else exclude[part]
        return top_k(queries[part], gallery, k, exclude=left_out, device=device, progress=progress)

    scores, rows = zip(*_shared_out(len(queries), nearest), strict=True)
    return np.concatenate(scores), np.concatenate(rows)


def _shared_out(count: int, found: Callable[[slice], Found]) -> list[Found]:
    """What each of several processes finds for its share of so many queries, in their order; all get all."""
    from facemae_cli.runtime import distributed  # it brings torch

    return distributed.gather_objects(found(slice(*distributed.share(count))))


def find_genuine_matches(
    queries: Features,
    gallery: Features,
    query_people: People,
    gallery_people: People,
    *,
    exclude: Rows | None = None,
) -> GenuineMatches:
    """Each query's nearest face of its own person; arguments as `rank_queries`. Only such faces are compared."""
    if query_people.shape != queries.shape[:1] or len(gallery_people) != len(gallery):
        raise ValueError("each query and each gallery face needs its person")
    shown = columns(gallery_people)
    faces, people = np.repeat(np.arange(len(gallery)), shown.shape[1]), shown.ravel()
    by = np.argsort(people, kind="stable")
    order, people = faces[by], people[by]
    start, stop = (np.searchsorted(people, query_people, side=side) for side in ("left", "right"))
    left_out = _excluded(exclude, len(queries))
    genuine = GenuineMatches(stop - start, np.full(len(queries), -np.inf), np.full(len(queries), -1, np.int64))
    for out in left_out.T:
        there = np.flatnonzero(out >= 0)
        genuine.count[there] -= (shown[out[there]] == query_people[there, None]).any(axis=1)
    by_person = np.argsort(query_people, kind="stable")
    cuts = np.flatnonzero(np.diff(query_people[by_person])) + 1
    for group in np.split(by_person, cuts):
        for first in range(0, len(group), ROWS):
            part = group[first : first + ROWS]
            _nearest_of(genuine, part, order[start[part[0]] : stop[part[0]]], queries, gallery, left_out)
    return genuine


def _excluded(exclude: Rows | None, count: int) -> Rows:
    """(n, E) the gallery faces that each query leaves out."""
    return np.empty((count, 0), np.int64) if exclude is None else columns(exclude)


def _nearest_of(
    genuine: GenuineMatches, part: Rows, faces: Rows, queries: Features, gallery: Features, left_out: Rows
) -> None:
    """Fill in the nearest of `faces`, gallery rows of one person, for the person's queries `part`."""
    wide = queries[part].astype(np.float64)
    for first in range(0, len(faces), COLUMNS):
        rows = faces[first : first + COLUMNS]
        scores = wide @ gallery[rows].astype(np.float64).T
        for out in left_out[part].T:
            scores[out[:, None] == rows] = -np.inf
        nearest = scores.argmax(axis=1)
        score = scores[np.arange(len(part)), nearest]
        better = score > genuine.best[part]
        genuine.best[part[better]], genuine.row[part[better]] = score[better], rows[nearest[better]]


def _none_found(k: int, faces: int, exclude: Rows | None, genuine: GenuineMatches) -> Ranks:
    """Ranks in which nobody was found yet."""
    size = len(genuine.count)
    gallery = faces - (_excluded(exclude, size) >= 0).sum(axis=1)
    tied, own = np.zeros(size, np.int64), np.zeros(size, np.int64)
    return Ranks(k, np.full(size, k), tied, own, gallery, genuine.count, genuine.best, genuine.row)


def _settle(ranks: Ranks, found: Candidates, query_people: People, gallery_people: People) -> Rows:
    """Fill in the queries that their lists decide; returns the others."""
    here = np.arange(found.first, found.first + len(found.limit))
    best = np.where(ranks.genuine[here] > 0, ranks.best[here], np.inf)[:, None]
    above = (found.scores > best + TIE).sum(axis=1)
    near = np.abs(found.scores - best) <= TIE
    own = near & (gallery_people[found.rows] == query_people[here, None, None]).any(axis=2)
    behind = (ranks.genuine[here] == 0) | (above >= ranks.k)  # as it stands already
    complete = ~behind & (found.limit < best[:, 0] - TIE)
    done = here[complete]
    ranks.above[done] = above[complete]
    ranks.tied[done], ranks.own[done] = near[complete].sum(axis=1), own[complete].sum(axis=1)
    return here[~behind & ~complete]


def _count(
    ranks: Ranks,
    part: Rows,
    queries: Features,
    gallery: Features,
    query_people: People,
    gallery_people: People,
    exclude: Rows | None,
) -> None:
    """Fill in queries `part` from all their scores."""
    wide, best = queries[part].astype(np.float64), ranks.best[part, None]
    above, tied, own = (np.zeros(len(part), np.int64) for _ in range(3))
    for first in range(0, len(gallery), COLUMNS):
        scores = wide @ gallery[first : first + COLUMNS].astype(np.float64).T
        for out in _excluded(exclude, len(queries))[part].T:
            scores[out[:, None] == np.arange(first, first + scores.shape[1])] = -np.inf
        near = np.abs(scores - best) <= TIE
        above += (scores > best + TIE).sum(axis=1)
        tied += near.sum(axis=1)
        shown = gallery_people[first : first + COLUMNS] == query_people[part, None, None]
        own += (near & shown.any(axis=2)).sum(axis=1)
    reached = above < ranks.k
    done = part[reached]
    ranks.above[done], ranks.tied[done], ranks.own[done] = above[reached], tied[reached], own[reached]
