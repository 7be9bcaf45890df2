"""Faces of a `.rec` embedded by facemae, beside onnxruntime alone in a Pillow loop over the same network.

    python tests/benchmarks/embed.py [--models r18 mbf] [--faces 512]

Features are those of verification: of a face and of its mirror image, added, at length 1. facemae is given the network
as an `.onnx`, and as a folder that it trained; on a GPU the plain loop uses onnxruntime's CUDA provider where that is
installed, and there is a third way, the same loop over torch. Weights are random. All features are compared. The floor
is the network's multiplications over the rate of one large product.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawings import write_faces
from mask import bodies
from PIL import Image
from random_models import random_network, write_folder, write_onnx
from timing import Bench, as_the_system_does, begin, work_floor

from facemae_cli.data.open import open_source
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.card import Card
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime.device import choose_precision
from facemae_cli.runtime.memory import keep_freed_memory

BATCH = 32  # of the plain loops on a CPU; 256 on a GPU
AGREEMENT = {"fp32": 1e-3, "tf32": 2e-2, "bf16": 0.2}  # of a feature's length, in a network that was not trained

Network = Callable[[np.ndarray], np.ndarray]


def plain(source: Path, network: Network, card: Card, batch: int) -> np.ndarray:
    """Pillow decodes a batch, the network sees it and its mirror image, and so on to the last one."""
    as_the_system_does()
    jpegs, made = list(bodies(source)), []
    mean, std = (np.asarray(values, np.float32) for values in (card.input.mean, card.input.std))
    for first in range(0, len(jpegs), batch):
        faces = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in jpegs[first : first + batch]]
        images = ((np.stack(faces).astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
        features = network(np.ascontiguousarray(images)) + network(np.ascontiguousarray(images[..., ::-1]))
        made.append(features / np.linalg.norm(features, axis=1, keepdims=True))
    return np.concatenate(made)


def by_onnxruntime(path: Path, device: str) -> tuple[str, Network]:
    """The session one would make, and what to call it."""
    import onnxruntime

    wanted = ["CUDAExecutionProvider"] if device != "cpu" else []
    known = [name for name in (*wanted, "CPUExecutionProvider") if name in onnxruntime.get_available_providers()]
    session: Any = onnxruntime.InferenceSession(str(path), providers=known)
    name = session.get_inputs()[0].name
    place = " on the CPU" if device != "cpu" and len(known) == 1 else ""
    return f"onnxruntime{place}, Pillow loop", lambda images: session.run(None, {name: images})[0]


def by_torch(card: Card, device: str, bf16: bool) -> Network:
    """The network as torch has it, in plain memory order."""
    network = random_network(card).to(device)

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            return network(torch.from_numpy(images).to(device)).float().cpu().numpy()

    return run


def ours(recognizer: Recognizer, source: Path) -> np.ndarray:
    """As `verify` and `leakage` embed."""
    keep_freed_memory()
    return recognizer.embed(open_source(source)).features


def measure(bench: Bench, name: str, source: Path, root: Path, faces: int) -> None:
    """All ways for one network."""
    card, device = resolve(name, "embedder").card, bench.device
    models = [write_onnx(card, root / f"{name}.onnx"), write_folder(card, root / name)]
    fast = choose_precision("auto", torch.device(device))
    batch = BATCH if device == "cpu" else 256
    first, session = by_onnxruntime(root / f"{name}.onnx", device)
    sides: dict[str, Callable[[], np.ndarray]] = {first: partial(plain, source, session, card, batch)}
    for precision in dict.fromkeys(("fp32", fast)):
        if device != "cpu" or precision != "fp32":
            way = by_torch(card, device, precision == "bf16")
            sides[f"torch in {precision}, Pillow loop"] = partial(plain, source, way, card, batch)
        for model, kind in zip(models, (".onnx", "its own"), strict=True):
            recognizer = Recognizer.load(str(model.path), device, precision)
            sides[f"facemae, {kind}, {precision} by {recognizer.runtime}"] = partial(ours, recognizer, source)
    wanted = sides[first]()
    for side, work in sides.items():
        apart = float(np.linalg.norm(work() - wanted, axis=1).max())
        kind = "bf16" if "bf16" in side else "fp32" if device == "cpu" else "tf32"
        assert apart <= AGREEMENT[kind], f"{side} differs by {apart:.1e}"
    one = torch.zeros(1, 3, card.input.size, card.input.size)
    floor = work_floor(partial(random_network(card), one), 2 * faces, device, fast, "view")
    bench.compare(f"embedding by {name}, each face and its mirror image: {faces} faces", sides, faces, floor)


def main(argv: list[str] | None = None) -> None:
    """Each network in fp32, and in bf16 where the device computes in it."""
    parser = argparse.ArgumentParser("embed.py", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["r18", "mbf"], help="architectures of the zoo")
    parser.add_argument("--faces", type=int, default=512)
    options, bench = begin(parser, argv)
    if bench is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = write_faces(root / "faces.rec", options.faces)
        for name in options.models:
            measure(bench, name, source, root, options.faces)


if __name__ == "__main__":
    main()
