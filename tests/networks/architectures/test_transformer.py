"""The transformer block: timm's to the bit, without timm."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest
import torch
from timm.models.vision_transformer import Block as TimmBlock
from torch import nn

from facemae_cli.networks.architectures.transformer import Block


def pair(drop_path: float = 0.0) -> tuple[Block, TimmBlock]:
    """Our block and timm's, each from the same seed."""
    torch.manual_seed(1)
    ours = Block(24, 3, drop_path)
    torch.manual_seed(1)
    norm = partial(nn.LayerNorm, eps=1e-6)
    return ours, TimmBlock(24, 3, qkv_bias=True, drop_path=drop_path, norm_layer=norm)  # type: ignore[arg-type]


def test_weights_start_as_timm_s_under_the_same_names() -> None:
    ours, theirs = pair()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("training", "drop_path"), [(False, 0.0), (True, 0.0), (True, 0.4)])
def test_features_and_gradients_are_timm_s_to_the_bit(fused: bool, training: bool, drop_path: float) -> None:
    found = []
    for block in pair(drop_path):
        block.train(training).attn.fused_attn = fused  # type: ignore[assignment]
        torch.manual_seed(2)
        x = torch.randn(5, 7, 24, requires_grad=True)
        out = block(x)
        out.square().sum().backward()
        found.append((out, x.grad, *(parameter.grad for parameter in block.parameters())))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))


def test_attention_is_what_the_paper_writes() -> None:
    block = pair()[0]
    block.attn.fused_attn = False
    x = torch.randn(2, 7, 24, dtype=torch.float64)
    attention = block.attn.double()
    q, k, v = attention.qkv(x).split(24, dim=-1)
    heads = []
    for head in range(3):
        own = slice(8 * head, 8 * head + 8)
        weights = torch.softmax(q[..., own] @ k[..., own].transpose(1, 2) / 8**0.5, dim=-1)
        heads.append(weights @ v[..., own])
    assert torch.allclose(attention(x), attention.proj(torch.cat(heads, -1)), atol=1e-12)


def test_the_bundled_models_need_neither_timm_nor_torch_s_compiler() -> None:
    code = """if 1:
        import sys
        import torch
        from facemae_cli.networks.architectures.vit import VisionTransformer
        from facemae_cli.networks.loading import load_embedder, load_mae
        from facemae_cli.networks.zoo import resolve
        from facemae_cli.tasks import reconstruct
        load_mae(resolve("facemae-v1", "mae"))
        load_embedder(resolve("embedder-v1", "embedder"))
        with torch.device("meta"):
            VisionTransformer()
        print(*({"timm", "torchvision", "torch._dynamo", "torch._inductor", "matplotlib", "scipy"} & set(sys.modules)))
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
