"""A recogniser ready to embed: a model of the zoo on a device, in a precision, and what a result must say of these."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from facemae_cli.data.faces import FaceSource
from facemae_cli.inference import feature_cache
from facemae_cli.inference.embed import Embeddings, embed
from facemae_cli.networks.backends import CompiledNetwork, choose_backend, compile_embedder
from facemae_cli.networks.card import Model
from facemae_cli.networks.embedder import Embedder
from facemae_cli.networks.loading import load_embedder
from facemae_cli.networks.onnx_session import OnnxSession, inference_precision, load_for_inference
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime.device import Precision, choose_device, has_fast_bf16


@dataclass(frozen=True)
class Recognizer:
    """An embedder and where it comes from, computing on `device` at `precision`; `remarks`: what a person should know
    of that."""

    model: Model
    embedder: Embedder
    device: torch.device
    precision: Precision
    remarks: tuple[str, ...] = ()

    @classmethod
    def load(
        cls, name: str, device: str = "auto", precision: str = "auto", backend: str = "auto", faces: int = 0
    ) -> Recognizer:
        """The embedder that `name` names in the zoo, as `backend` computes it; an `.onnx` file whatever that says.

        `faces`: about how many it will embed, for backend `auto`. Raises UsageError and InputError.
        """
        model, chosen = resolve(name, "embedder"), choose_device(device)
        by, computed = choose_backend(backend, precision, chosen, faces, autoencoder=False)
        if model.weights is not None and model.weights.suffix == ".onnx":
            return cls.of_onnx(model, chosen, inference_precision(precision, model, chosen), asked=precision)
        return cls(model, compile_embedder(load_embedder(model, chosen), by, computed), chosen, computed)

    @classmethod
    def of_onnx(cls, model: Model, device: torch.device, precision: Precision, asked: str = "auto") -> Recognizer:
        """The embedder of an `.onnx` file at `precision`; in fp32 where only onnxruntime runs it, with a remark if bf16
        was `asked` for. Raises InputError."""
        embedder = load_for_inference(model, device, precision)
        if precision == "fp32" or not isinstance(embedder.network, OnnxSession):
            return cls(model, embedder, device, precision)
        line = f"{model.name} is computed in fp32: only onnxruntime runs it, which does not compute in bf16"
        return cls(model, embedder, device, "fp32", (line,) if asked == "bf16" else ())

    def embed(self, source: FaceSource, **options: Any) -> Embeddings:
        """The features of `source`; `options` are those of `inference.embed.embed`."""
        return embed(
            source,
            self.embedder,
            device=self.device,
            precision=self.precision,
            model_digest=self.digest,
            **options,
        )

    def kept_in(self, cache: Path, faces: str) -> Path:
        """The file in `cache` for the features of faces of digest `faces`. Raises OutputError."""
        how = (True, self.precision, self.device.type)
        return feature_cache.place(cache, faces, self.digest, self.embedder.spec, *how)

    @property
    def dim(self) -> int:
        """Of its features."""
        return self.embedder.dim

    @property
    def digest(self) -> str:
        """What distinguishes its features from another's: the weights' sha256, how the card builds the network, and
        what computes it, where that is not torch."""
        architecture = json.dumps(self.model.card.architecture, sort_keys=True, default=dict)
        by = f" by {self.runtime}" if isinstance(self.embedder.network, CompiledNetwork) else ""
        return f"{self.model.digest} {architecture}{by}"

    @property
    def runtime(self) -> str:
        """What computes: torch, onnxruntime or openvino."""
        network = self.embedder.network
        if isinstance(network, CompiledNetwork):
            return network.backend
        return "onnxruntime" if isinstance(network, OnnxSession) else "torch"

    @property
    def card(self) -> str:
        """Whether somebody gave the model's card, or it was assumed."""
        return "assumed" if self.model.card.assumed else "given"

    def notices(self) -> Iterator[str]:
        """What a person should know before it starts, one line each."""
        if self.model.warning:
            yield self.model.warning
        yield from self.remarks
        if self.precision == "bf16" and not has_fast_bf16(self.device):
            yield f"bf16 is emulated on this {self.device.type}, many times slower than --precision fp32"

    def __str__(self) -> str:
        return f"on {self.device} in {self.precision} by {self.runtime}"

    def as_json(self) -> dict[str, Any]:
        """The model and how it computes, as JSON types."""
        return {
            "model": self.model.name,
            "model_sha256": self.model.digest,
            "card": self.card,
            "device": str(self.device),
            "precision": self.precision,
            "runtime": self.runtime,
        }
