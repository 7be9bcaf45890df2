"""Exact standings for a leakage rate beside a plain faiss.IndexFlatIP search, in one process, on random embeddings.

    python tests/benchmarks/retrieval.py [--faces 200000] [--dim 512] [--k 4] [--photos 10] [--device cpu]

Queries and gallery are `--faces` rows each. Ours finds each person's nearest face, searches longer lists, scores them
again in float64 and applies the tie rule; the plain search only returns K rows a query. Memory is the peak of the
process above what it held with the embeddings made; ours is measured first, since FAISS copies the gallery. The floor
is one product of all queries with all of the gallery, at the rate of a large one.
"""

from __future__ import annotations

import argparse
import resource
import time
from importlib.util import find_spec

import numpy as np
from timing import begin, product_rate

from facemae_cli.evaluation.leakage.ranks import rank_queries
from facemae_cli.evaluation.leakage.risk import risk

BLOCK = 8192  # rows drawn at a time, so that making the embeddings needs no memory beyond them


def peak() -> float:
    """The most memory the process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def random_faces(faces: int, dim: int, seed: int) -> np.ndarray:
    """(faces, dim) float32 rows of length 1."""
    random = np.random.default_rng(seed)
    rows = np.empty((faces, dim), np.float32)
    for first in range(0, faces, BLOCK):
        block = random.standard_normal((min(BLOCK, faces - first), dim), np.float32)
        rows[first : first + BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return rows


def plain_search(queries: np.ndarray, gallery: np.ndarray, k: int, device: str) -> tuple[str, np.ndarray]:
    """What one would call, and its (n, k) rows: on a CPU FAISS; without it, and on a GPU, torch block by block."""
    if device == "cpu" and find_spec("faiss"):
        import faiss

        index = faiss.IndexFlatIP(gallery.shape[1])
        index.add(gallery)
        return "faiss.IndexFlatIP on the CPU", index.search(queries, k)[1]
    import torch

    columns = torch.from_numpy(gallery).to(device).T
    blocks = torch.from_numpy(queries).split(BLOCK)
    return "torch.topk", torch.cat([(block.to(device) @ columns).topk(k).indices.cpu() for block in blocks]).numpy()


def main(argv: list[str] | None = None) -> None:
    """Runs both once, checks that they agree, and prints time and memory."""
    parser = argparse.ArgumentParser("retrieval.py", description=__doc__)
    parser.add_argument("--faces", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--photos", type=int, default=10, help="of each person")
    options, bench = begin(parser, argv)
    if bench is None:
        return
    queries, gallery = (random_faces(options.faces, options.dim, seed) for seed in (0, 1))
    people = np.arange(options.faces) // options.photos
    held = peak()
    print(f"{options.faces} x {options.faces} x {options.dim}, K = {options.k}: {held:.2f} GB with the embeddings")

    start = time.perf_counter()
    ranks = rank_queries(queries, gallery, people, people, options.k, device=options.device)
    ours = time.perf_counter() - start
    print(f"facemae: {ours:.1f} s, {peak() - held:.2f} GB above them")

    start = time.perf_counter()
    name, rows = plain_search(queries, gallery, options.k, options.device)
    plain = time.perf_counter() - start
    print(f"{name}: {plain:.1f} s, {peak() - held:.2f} GB above them; facemae takes {ours / plain:.2f} of its time")

    floor = 2.0 * options.faces**2 * options.dim / product_rate(options.device)
    shares = [round(100 * floor / took) for took in (ours, plain)]
    print(f"floor: {floor:.1f} s, of which facemae reaches {shares[0]} %, {name} {shares[1]} %")
    for side, took in ((name, plain), ("facemae, with float64 and ties", ours)):
        row = {"what": f"top {options.k} of {options.faces:,} x {options.faces:,} x {options.dim}", "side": side}
        bench.keep(row | {"unit": "queries", "best": options.faces / took, "x": plain / took, "floor": floor / took})

    rate = float((people[rows] == people[:, None]).any(axis=1).mean())
    found = risk(ranks, people, options.k)
    print(f"hit rate {found.risk:.6f} and {rate:.6f}, chance {found.chance:.6f}")
    assert abs(found.risk - rate) <= 2 / options.faces


if __name__ == "__main__":
    main()
