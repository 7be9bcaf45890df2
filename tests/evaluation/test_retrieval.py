"""Exact top-K: every backend against a full sort in float64."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from facemae_cli.errors import UsageError
from facemae_cli.evaluation import retrieval
from facemae_cli.evaluation.retrieval import choose_backend, faiss_clash, merge_top_k, places, top_k

BACKENDS = ["faiss", "torch"]


def unit(random: np.random.Generator, count: int, dim: int = 16) -> np.ndarray:
    rows = random.normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_sorting(queries: np.ndarray, gallery: np.ndarray, k: int, exclude: np.ndarray | None) -> list[list[int]]:
    """For each query the rows of the k nearest, -1 where there are none."""
    lists = []
    for number, query in enumerate(queries):
        scores = [sum(float(a) * float(b) for a, b in zip(query, face, strict=True)) for face in gallery]
        rows = [row for row in range(len(gallery)) if exclude is None or row != exclude[number]]
        rows.sort(key=lambda row: (-scores[row], row))
        lists.append((rows + [-1] * k)[:k])
    return lists


@pytest.fixture
def faces() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return unit(random, 23), unit(random, 40)


@pytest.mark.parametrize("k", [1, 4, 39, 40, 50])
@pytest.mark.parametrize("excluding", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_lists_are_those_of_a_full_sort(faces, backend, excluding, k) -> None:
    queries, gallery = faces
    exclude = np.append(np.arange(22), -1) if excluding else None
    scores, rows = top_k(queries, gallery, k, exclude=exclude, backend=backend)
    assert rows.tolist() == by_sorting(queries, gallery, k, exclude)
    exact = np.take_along_axis(queries.astype(np.float64) @ gallery.astype(np.float64).T, rows, axis=1)
    np.testing.assert_allclose(scores, np.where(rows < 0, -np.inf, exact), atol=1e-15)


@pytest.mark.parametrize("backend", BACKENDS)
def test_blocks_of_queries_and_gallery_change_nothing(faces, backend, monkeypatch) -> None:
    whole = top_k(*faces, 4, backend=backend)
    for name, size in (("QUERIES", 5), ("GALLERY", 7), ("SCORES", 20), ("RESCORED", 3)):
        monkeypatch.setattr(retrieval, name, size)
    in_blocks = top_k(*faces, 4, backend=backend)
    assert in_blocks[1].tolist() == whole[1].tolist()
    np.testing.assert_allclose(in_blocks[0], whole[0], atol=1e-15)


def test_a_face_left_out_takes_no_place_in_the_list(faces, monkeypatch) -> None:
    monkeypatch.setattr(retrieval, "MARGIN", 0)
    queries, gallery = faces
    nearest = top_k(queries, gallery, 1)[1][:, 0]
    assert top_k(queries, gallery, 3, exclude=nearest)[1].tolist() == by_sorting(queries, gallery, 3, nearest)


def test_equal_scores_stand_in_the_order_of_rows(faces) -> None:
    queries, gallery = faces
    scores, rows = top_k(queries, np.concatenate([gallery[:5]] * 3), 4)
    assert (np.diff(scores[:, :3]) == 0).all()
    assert (np.diff(rows[:, :3]) == 5).all()


def test_several_gpus_share_the_gallery(faces, monkeypatch) -> None:
    """Stands in for three GPUs and a GPU build of FAISS: which device is asked for which faces."""
    asked = []

    def knn_gpu(resources, queries, gallery, k, metric, device):
        asked.append((resources, device, len(gallery)))
        return faiss.knn(queries, gallery, k, metric=metric)

    resources = iter("abc")
    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: next(resources), raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 3, raising=False)
    monkeypatch.setattr(retrieval, "GALLERY", 8)
    retrieval._resources.cache_clear()
    try:
        assert choose_backend("cuda") == "faiss-gpu"
        assert top_k(*faces, 4, device="cuda")[1].tolist() == by_sorting(*faces, 4, None)
    finally:
        retrieval._resources.cache_clear()
    assert sorted(device for _, device, _ in asked) == [0, 0, 1, 1, 2]
    assert {size for _, _, size in asked} == {8}
    assert len({(name, device) for name, device, _ in asked}) == 3


def test_torch_computes_in_fp32_whatever_the_process_chose(faces, monkeypatch) -> None:
    import torch

    seen = []
    real = retrieval._torch
    monkeypatch.setattr(
        retrieval, "_torch", lambda *args: seen.append(torch.get_float32_matmul_precision()) or real(*args)
    )
    torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rows = top_k(*faces, 4, backend="torch")[1]
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]
    assert rows.tolist() == by_sorting(*faces, 4, None)


def test_scores_coarser_than_fp32_are_refused(faces, monkeypatch) -> None:
    def coarse(queries, gallery, width, device):
        scores, rows = faiss.knn(queries, gallery, width, metric=faiss.METRIC_INNER_PRODUCT)
        return scores.astype(np.float16).astype(np.float32), rows

    monkeypatch.setattr(retrieval, "_faiss", coarse)
    with pytest.raises(UsageError, match=r"off by 0\.000\d, more than fp32's 2e-06: unset NVIDIA_TF32_OVERRIDE"):
        top_k(*faces, 4, backend="faiss")


def test_rounding_holds_for_the_worst_rows() -> None:
    dim = 512
    for row in (np.full(dim, dim**-0.5), np.geomspace(1, 1e-6, dim)):
        face = (row / np.linalg.norm(row)).astype(np.float32)
        slow = np.float32(0)
        for value in face:
            slow += value * value
        assert abs(float(slow) - float(face.astype(np.float64) @ face.astype(np.float64))) < retrieval.rounding(dim)


@pytest.mark.parametrize("wrong", [0.0, 2.0, np.nan, np.inf])
@pytest.mark.parametrize("side", ["queries", "gallery"])
def test_rows_of_another_length_are_refused(faces, side, wrong) -> None:
    broken = dict(zip(("queries", "gallery"), faces, strict=True))
    broken[side][3] *= np.float32(wrong)
    with pytest.raises(ValueError, match=f"^{side}: 1 rows, the first 3, are not of length 1"):
        top_k(broken["queries"], broken["gallery"], 2)


def test_arguments_are_checked(faces) -> None:
    queries, gallery = faces
    with pytest.raises(ValueError, match="k is at least 1, not 0"):
        top_k(queries, gallery, 0)
    with pytest.raises(ValueError, match="float32 rows of the same length"):
        top_k(queries, gallery[:, :8], 1)
    for exclude in (np.arange(22), np.full(23, 40), np.full(23, -2)):
        with pytest.raises(ValueError, match="for each of 23 queries"):
            top_k(queries, gallery, 1, exclude=exclude)
    with pytest.raises(UsageError, match="'annoy' is not known; there are auto, faiss, faiss-gpu, torch"):
        top_k(queries, gallery, 1, backend="annoy")
    if not retrieval._faiss_gpus():
        with pytest.raises(UsageError, match="faiss-gpu needs a GPU"):
            top_k(queries, gallery, 1, backend="faiss-gpu")


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_side_gives_empty_lists(faces, backend) -> None:
    queries, gallery = faces
    assert top_k(queries[:0], gallery, 3, backend=backend)[1].shape == (0, 3)
    scores, rows = top_k(queries, gallery[:0], 3, backend=backend)
    assert (rows == -1).all()
    assert (scores == -np.inf).all()


def test_lists_of_parts_of_the_gallery_merge_to_those_of_the_whole(faces) -> None:
    queries, gallery = faces
    parts = []
    for first, last in ((0, 3), (3, 25), (25, 40)):
        scores, rows = top_k(queries, gallery[first:last], 6)
        parts.append((scores, np.where(rows < 0, -1, rows + first)))
    scores, rows = merge_top_k(parts, 6)
    assert rows.tolist() == by_sorting(queries, gallery, 6, None)
    np.testing.assert_array_equal(scores, top_k(queries, gallery, 6)[0])


def test_a_search_without_faiss_runs_on_torch(faces, monkeypatch) -> None:
    monkeypatch.setattr(retrieval, "find_spec", lambda name: None)
    assert choose_backend() == "torch"
    assert top_k(*faces, 4)[1].tolist() == by_sorting(*faces, 4, None)


def test_the_backend_of_each_device(monkeypatch) -> None:
    assert choose_backend("cpu") == "faiss"
    for gpus, expected in ((0, "torch"), (2, "faiss-gpu")):
        monkeypatch.setattr(retrieval, "_faiss_gpus", lambda gpus=gpus: gpus)
        assert choose_backend("cuda") == expected
        assert choose_backend("cpu") == "faiss"
    search, devices = retrieval._backend("auto", "cuda:1", retrieval.GPU_WIDTH + 1)
    assert search is retrieval._torch
    assert devices == ["cuda:1"]


@pytest.mark.parametrize(
    ("installed", "line"),
    [
        (["numpy", "faiss-cpu"], None),
        (["faiss-gpu"], None),
        (["faiss_cpu", "Faiss-GPU"], "pip uninstall -y faiss-cpu faiss-gpu && pip install --no-deps faiss-gpu`"),
        (["faiss-cpu", "faiss-gpu-cu12"], "pip uninstall -y faiss-cpu faiss-gpu-cu12 && pip install --no-deps"),
    ],
)
def test_two_builds_of_faiss_are_told_in_one_line(installed, line, monkeypatch) -> None:
    found = [SimpleNamespace(metadata={"Name": name}) for name in installed]
    monkeypatch.setattr(retrieval.metadata, "distributions", lambda: found)
    said = faiss_clash()
    assert said is None if line is None else re.search(re.escape(line), said) and "\n" not in said


def test_progress_counts_queries(faces, monkeypatch) -> None:
    monkeypatch.setattr(retrieval, "QUERIES", 10)
    seen = []
    progress = SimpleNamespace(start=lambda *a: seen.append(a), advance=lambda n: seen.append(n))
    top_k(*faces, 2, progress=progress)
    assert seen == [("search", 23), 10, 10, 3]


def test_the_cpu_path_loads_no_torch() -> None:
    script = (
        "import sys, numpy as np\n"
        "from facemae_cli.evaluation.retrieval import top_k\n"
        "from facemae_cli.evaluation.leakage import membership, risk\n"
        "top_k(np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32), 2)\n"
        "assert 'faiss' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("apart", [0.0, 3e-7, 1e-6, 1e-4])
@pytest.mark.parametrize("excluding", [False, True])
def test_faces_that_only_rounding_tells_apart_are_ordered_exactly(apart, excluding) -> None:
    random = np.random.default_rng(3)
    queries, gallery = unit(random, 30, 64), unit(random, 300, 64)
    for number, query in enumerate(queries):  # six faces of each query within `apart` of each other
        for copy in range(6):
            face = query.astype(np.float64) + 0.1 * gallery[number] + apart * copy * gallery[number + 30]
            gallery[100 + 6 * number + copy] = face / np.linalg.norm(face)
    exclude = 100 + 6 * np.arange(30) if excluding else None
    rows = top_k(queries, gallery, 3, exclude=exclude)[1]
    exact = queries.astype(np.float64) @ gallery.astype(np.float64).T
    if exclude is not None:
        exact[np.arange(30), exclude] = -np.inf
    best = -np.sort(-exact, axis=1)[:, :3]
    np.testing.assert_allclose(np.take_along_axis(exact, rows, axis=1), best, rtol=0, atol=1e-15)


@pytest.mark.parametrize("excluding", [False, True])
def test_no_face_outside_a_list_scores_over_its_limit_and_none_near_the_kth_is_outside(excluding) -> None:
    random = np.random.default_rng(4)
    queries, gallery = unit(random, 40, 32), unit(random, 500, 32)
    exclude = random.integers(0, 500, 40) if excluding else None
    exact = queries.astype(np.float64) @ gallery.astype(np.float64).T
    for found in retrieval.candidates(queries, gallery, 4, exclude=exclude):
        for query, (scores, rows, limit) in enumerate(zip(found.scores, found.rows, found.limit, strict=True)):
            own = exact[query].copy()
            if exclude is not None:
                own[exclude[query]] = -np.inf
            assert np.sort(own)[-4:].tolist() == pytest.approx(np.sort(scores)[-4:].tolist(), abs=1e-15)
            outside = np.setdiff1d(np.arange(500), rows[rows >= 0])
            assert own[outside].max() <= limit <= np.sort(own)[-4] - retrieval.APART
            assert (rows >= 0).sum() < 4 + retrieval.MARGIN  # most of the margin is not scored again


def test_faiss_s_own_settings_are_left_as_they_were(faces) -> None:
    before = faiss.cvar.distance_compute_blas_query_bs, faiss.cvar.distance_compute_blas_database_bs
    top_k(*faces, 4, backend="faiss")
    after = faiss.cvar.distance_compute_blas_query_bs, faiss.cvar.distance_compute_blas_database_bs
    assert after == before == (4096, 1024)


def test_where_chosen_rows_stand() -> None:
    assert places(np.array([4, 0]), 5).tolist() == [1, -1, -1, -1, 0, -1]
