"""Exact top-K search by inner product: on FAISS, on a GPU build of it, or in blocks of torch.

A backend's fp32 scores only preselect: each list is a margin longer than asked for, and whatever in it may be among the
k nearest, by the bound on fp32's rounding, is scored again in float64, so that every backend gives the same figures.
Only lists are held, never a matrix of all scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from facemae_cli.errors import UsageError
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import cores

Backend = Literal["auto", "faiss", "faiss-gpu", "torch"]
Features = NDArray[np.float32]
Scores = NDArray[np.float64]
Rows = NDArray[np.int64]
Lists = tuple[NDArray[np.floating], Rows]
Search = Callable[[Features, Features, int, str], Lists]

MARGIN = 8  # faces a list holds beyond those asked for, so that a few ties do not reach over its end
QUERIES = 2**14  # searched at a time
GALLERY = 2**18  # gallery faces a GPU holds at a time
SCORES = 2**27  # scores torch holds at a time, on each device
FAISS_BLOCK = 2**10, 2**12  # queries and gallery faces of a product; a few percent faster than its 4096 x 1024
RESCORED = 128  # pairs of faces held in float64 at once by each thread, for the same reason
APART = 4e-6  # what lies this far, and twice fp32's rounding, under the k-th of a list is not scored again
GPU_WIDTH = 2048  # the longest list of faiss.knn_gpu


@dataclass(frozen=True)
class Candidates:
    """The nearest faces of queries `first`, `first + 1`, ..., and how far all others lie below.

    `rows`: (b, w) int64 gallery rows, -1 where there is none; `scores`: (b, w) float64 inner products, -inf there;
    neither is sorted. `limit`: (b,) float64: no gallery face outside a query's list scores higher. It lies APART or
    more below the k-th best of the list, unless the list is full.
    """

    first: int
    scores: Scores
    rows: Rows
    limit: Scores


def top_k(
    queries: Features,
    gallery: Features,
    k: int,
    *,
    exclude: Rows | None = None,
    device: str = "cpu",
    backend: Backend = "auto",
    progress: Progress = SILENT,
) -> tuple[Scores, Rows]:
    """The k gallery faces nearest to each query: scores (n, k) float64, falling, and gallery rows (n, k) int64.

    queries: (n, D), gallery: (N, D) float32, rows of length 1. `exclude`: (n,) int64, the gallery row a query leaves
    out, or (n, E), several, -1 for none. Where fewer than k remain, row -1 and score -inf. Equal scores stand in the
    order of rows; of more than MARGIN faces within the rounding of fp32 at a list's end, which ones it holds is the
    backend's choice.
    `device`: cpu, cuda (all GPUs) or cuda:N. Raises ValueError for rows of another length, zero or not finite,
    UsageError for a backend that is not here.
    """
    scores = np.full((len(queries), k), -np.inf)
    rows = np.full((len(queries), k), -1, np.int64)
    for found in candidates(queries, gallery, k, exclude=exclude, device=device, backend=backend, progress=progress):
        order = np.lexsort((found.rows, -found.scores), axis=-1)[:, :k]
        part = slice(found.first, found.first + len(order)), slice(0, order.shape[1])
        scores[part] = np.take_along_axis(found.scores, order, axis=1)
        rows[part] = np.take_along_axis(found.rows, order, axis=1)
    return scores, rows


def merge_top_k(parts: Sequence[Lists], k: int) -> Lists:
    """The k best of several searches: `parts` are (scores, rows) of equally many queries, each over its own gallery.

    Rows must count in the whole gallery; -1, with score -inf, stands for none. Equal scores keep the order of parts.
    """
    scores = np.concatenate([part[0] for part in parts], axis=1)
    rows = np.concatenate([part[1] for part in parts], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def candidates(
    queries: Features,
    gallery: Features,
    k: int,
    *,
    exclude: Rows | None = None,
    device: str = "cpu",
    backend: Backend = "auto",
    progress: Progress = SILENT,
) -> Iterator[Candidates]:
    """Lists of at least the k nearest faces (all, where there are fewer), block by block; arguments as `top_k`."""
    _check(queries, gallery, k, exclude)
    left_out = np.empty((len(queries), 0), np.int64) if exclude is None else columns(exclude)
    sure = k + left_out.shape[1]
    width = min(sure + MARGIN, len(gallery))
    search, devices = _backend(backend, device, width)
    progress.start("search", len(queries))
    for first in range(0, len(queries), QUERIES):
        block = np.ascontiguousarray(queries[first : first + QUERIES])
        near, rows = _nearest(search, devices, block, gallery, width)
        near, rows, limit = _shortened(near, rows, sure, len(gallery), queries.shape[1])
        scores = _rescore(block, gallery, rows)
        _check_rounding(near, scores, queries.shape[1])
        for out in left_out[first : first + QUERIES].T:
            gone = (rows == out[:, None]) & (rows >= 0)
            scores, rows = np.where(gone, -np.inf, scores), np.where(gone, -1, rows)
        yield Candidates(first, scores, rows, limit)
        progress.advance(len(block))


def columns(numbers: Rows) -> Rows:
    """(n,) numbers, one for each of n faces, as (n, 1); (n, S), several for each, as they are."""
    return numbers[:, None] if numbers.ndim == 1 else numbers


def places(chosen: Rows, count: int) -> Rows:
    """(count + 1,) where each of `count` rows stands among those `chosen`, (n,); -1 where not, and for row -1."""
    place = np.full(count + 1, -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    return place


def rounding(dim: int) -> float:
    """How far the fp32 inner product of two rows of length 1 can be from the exact one, in any order of summing.

    dim * u to first order, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 3.1); here twice that.
    """
    return (dim + 2) * 2.0**-23


def choose_backend(device: str = "cpu") -> Backend:
    """What `auto` is on `device`: FAISS; on a GPU its GPU build, else torch, which also serves where FAISS is not."""
    if find_spec("faiss") is None:
        return "torch"
    if device == "cpu":
        return "faiss"
    return "faiss-gpu" if _faiss_gpus() else "torch"


def faiss_clash() -> str | None:
    """One line that says what to do where faiss-cpu and faiss-gpu are both installed: they write the same folder."""
    names = {(item.metadata["Name"] or "").lower().replace("_", "-") for item in metadata.distributions()}
    gpu = sorted(name for name in names if name.startswith("faiss-gpu"))
    if "faiss-cpu" not in names or not gpu:
        return None
    fix = f"pip uninstall -y faiss-cpu {' '.join(gpu)} && pip install --no-deps {gpu[0]}"
    return f"faiss-cpu and {gpu[0]} overwrite each other's files: run `{fix}` (on a machine without a GPU: faiss-cpu)"


def _backend(name: Backend, device: str, width: int) -> tuple[Search, list[str]]:
    searches: dict[str, Search] = {"faiss": _faiss, "faiss-gpu": _faiss_gpu, "torch": _torch}
    chosen = choose_backend(device) if name == "auto" else name
    if name == "auto" and chosen == "faiss-gpu" and width > GPU_WIDTH:
        chosen = "torch"
    if chosen not in searches:
        raise UsageError(f"search backend {name!r} is not known; there are auto, {', '.join(searches)}")
    if chosen == "faiss-gpu" and not _faiss_gpus():
        raise UsageError("search backend faiss-gpu needs a GPU and a FAISS built for it; give auto, faiss or torch")
    if device != "cuda":
        return searches[chosen], [device]
    return searches[chosen], [f"cuda:{i}" for i in range(_faiss_gpus() if chosen == "faiss-gpu" else _torch_gpus())]


def _nearest(search: Search, devices: list[str], queries: Features, gallery: Features, width: int) -> Lists:
    """Lists over the whole gallery, which goes in blocks from device to device; a thread for each device."""
    if devices == ["cpu"] and search is _faiss:  # it blocks by itself
        return search(queries, gallery, width, "cpu")
    step = max(1, min(GALLERY, -(-len(gallery) // len(devices))))
    starts = range(0, len(gallery), step)

    def search_blocks(number: int) -> Lists:
        best: Lists = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        for start in starts[number :: len(devices)]:
            block = np.ascontiguousarray(gallery[start : start + step])
            scores, rows = search(queries, block, min(width, len(block)), devices[number])
            best = merge_top_k([best, (scores, rows + start)], width)
        return best

    with _full_precision(search is _torch), ThreadPoolExecutor(len(devices)) as pool:
        return merge_top_k(list(pool.map(search_blocks, range(len(devices)))), width)


def _faiss(queries: Features, gallery: Features, width: int, device: str) -> Lists:
    import faiss

    names = "distance_compute_blas_query_bs", "distance_compute_blas_database_bs"
    before = [getattr(faiss.cvar, name) for name in names]
    try:
        for name, size in zip(names, FAISS_BLOCK, strict=True):
            setattr(faiss.cvar, name, size)
        return faiss.knn(queries, gallery, width, metric=faiss.METRIC_INNER_PRODUCT)
    finally:
        for name, size in zip(names, before, strict=True):
            setattr(faiss.cvar, name, size)


def _faiss_gpu(queries: Features, gallery: Features, width: int, device: str) -> Lists:
    import faiss

    number = int(device.rpartition(":")[2])
    metric = faiss.METRIC_INNER_PRODUCT
    return faiss.knn_gpu(_resources(number), queries, gallery, width, metric=metric, device=number)


def _torch(queries: Features, gallery: Features, width: int, device: str) -> Lists:
    import torch

    scores, rows = [], []
    with torch.inference_mode(), torch.autocast(torch.device(device).type, enabled=False):
        held = torch.tensor(gallery, device=device)
        step = max(1, SCORES // len(gallery))
        for start in range(0, len(queries), step):
            best = (torch.tensor(queries[start : start + step], device=device) @ held.T).topk(width, dim=1)
            scores.append(best.values.cpu().numpy())
            rows.append(best.indices.cpu().numpy())
    return np.concatenate(scores), np.concatenate(rows)


@contextmanager
def _full_precision(torch_too: bool) -> Iterator[None]:
    """fp32 products in fp32, not TF32, whatever the process chose for its networks."""
    if not torch_too:
        yield
        return
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def _resources(number: int) -> Any:
    import faiss

    return faiss.StandardGpuResources()


def _faiss_gpus() -> int:
    import faiss

    return faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0


def _torch_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _shortened(
    near: NDArray[np.floating], rows: Rows, sure: int, faces: int, dim: int
) -> tuple[NDArray[np.floating], Rows, Scores]:
    """Lists, falling, without what cannot be among the `sure` nearest of a gallery of `faces`, and each one's limit."""
    off, width = rounding(dim), near.shape[1]
    reach = near[:, min(sure, width) - 1] - 2 * off - APART if width else np.empty(len(near))
    kept = (near >= reach[:, None]).sum(axis=1)
    longest = int(kept.max(initial=0))
    beyond = np.full(len(near), -np.inf)  # the best score of what is not in the list
    if width < faces:
        beyond[:] = near[:, -1]
    beyond[kept < width] = near[kept < width, kept[kept < width]]
    listed = np.arange(longest) < kept[:, None]
    return near[:, :longest], np.where(listed, rows[:, :longest], -1), beyond + off


def _rescore(queries: Features, gallery: Features, rows: Rows) -> Scores:
    """(b, w) float64 inner products of each query with the gallery `rows` of its list; -inf for -1."""
    scores = np.full(rows.shape, -np.inf)
    query, place = np.nonzero(rows >= 0)
    face, exact = rows[query, place], np.empty(len(query))

    def score(part: slice) -> None:
        narrow = np.empty((RESCORED, queries.shape[1]), np.float32)  # made once: fresh memory costs more than the sums
        wide = np.empty((2, *narrow.shape))
        for first in range(part.start, part.stop, RESCORED):
            some = slice(first, min(first + RESCORED, part.stop))
            count = some.stop - first
            for side, chosen, into in ((queries, query, wide[0]), (gallery, face, wide[1])):
                into[:count] = np.take(side, chosen[some], axis=0, out=narrow[:count], mode="clip")
            np.einsum("nd,nd->n", wide[0, :count], wide[1, :count], out=exact[some])

    threads = max(1, min(cores(), len(query) // (8 * RESCORED)))
    cuts = np.linspace(0, len(query), threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(score, map(slice, cuts[:-1], cuts[1:])))
    scores[query, place] = exact
    return scores


def _check(queries: Features, gallery: Features, k: int, exclude: Rows | None) -> None:
    if k < 1:
        raise ValueError(f"k is at least 1, not {k}")
    if queries.dtype != np.float32 or gallery.dtype != np.float32 or queries.shape[1:] != gallery.shape[1:]:
        raise ValueError("queries and gallery are float32 rows of the same length")
    for name, features in (("queries", queries), ("gallery", gallery)):
        wrong = np.flatnonzero(~(np.abs(np.einsum("nd,nd->n", features, features) - 1) < 1e-3))
        if len(wrong):
            raise ValueError(f"{name}: {len(wrong)} rows, the first {wrong[0]}, are not of length 1: leave them out")
    if exclude is not None and not (
        exclude.ndim in (1, 2) and len(exclude) == len(queries) and np.all((exclude >= -1) & (exclude < len(gallery)))
    ):
        raise ValueError(f"exclude holds rows of the gallery, or -1, for each of {len(queries)} queries")


def _check_rounding(near: NDArray[np.floating], scores: Scores, dim: int) -> None:
    off = float(np.abs(near - scores)[np.isfinite(scores)].max(initial=0.0))
    if off > rounding(dim):
        raise UsageError(
            f"the search's scores are off by {off:.1g}, more than fp32's {rounding(dim):.1g}: "
            "unset NVIDIA_TF32_OVERRIDE, or use --device cpu"
        )
