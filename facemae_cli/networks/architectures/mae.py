"""The masked autoencoder of FaceMAE: encoder on visible patches only, shallow decoder over all of them.

Written from the papers: MAE (arXiv 2111.06377, section 3) and FaceMAE (arXiv 2205.11090, section 3.2).
Tokens are the 14 x 14 patches of a face in row-major order; a patch is flattened row, column, channel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facemae_cli.masking.patches import GRID, TOKENS
from facemae_cli.networks.architectures.transformer import Block


def sincos_positions(width: int) -> Tensor:
    """Fixed 2-D sine-cosine positions: (196, width) float32 in [-1, 1].

    A quarter of the channels each: sin and cos of the column, then sin and cos of the row, at
    frequencies 10000 ** (-k / (width / 4)). Raises ValueError unless 4 divides `width`.
    """
    if width % 4:
        raise ValueError(f"width {width} is not a multiple of 4, which 2-D sine-cosine positions need")
    quarter = width // 4
    # On the CPU even where a network is made on `meta`: they are in no file of weights.
    frequency = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64, device="cpu") / quarter)
    angle = torch.arange(GRID, dtype=torch.float64, device="cpu")[:, None] * frequency  # (14, quarter)
    wave = torch.cat([angle.sin(), angle.cos()], dim=1)  # (14, width / 2)
    column = wave.repeat(GRID, 1)
    row = wave.repeat_interleave(GRID, dim=0)
    return torch.cat([column, row], dim=1).float()


def patchify(images: Tensor, patch: int) -> Tensor:
    """(N, 3, H, W) to (N, tokens, patch * patch * 3), tokens row-major, pixels in row, column, channel order."""
    n, c, h, w = images.shape
    grid = images.reshape(n, c, h // patch, patch, w // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(n, (h // patch) * (w // patch), patch * patch * c)


def unpatchify(patches: Tensor, patch: int) -> Tensor:
    """The inverse of `patchify` for a square face: (N, 196, patch * patch * 3) to (N, 3, S, S).

    A pixel's three colours stay together in memory, as in the patches (`torch.channels_last`), and as convolutions are
    fastest on a CPU: a tenth of the network's time in fp32.
    """
    n, size = patches.shape[0], GRID * patch
    grid = patches.reshape(n, GRID, GRID, patch, patch, 3)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(n, size, size, 3).permute(0, 3, 1, 2)


class Seam(nn.Module):
    """A residual 3x3 pair of convolutions over the assembled face, so that patch edges can meet.

    Starts as the identity: the last convolution is zero at first. images: (N, 3, S, S), the same out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(3, channels, 3, padding=1)
        self.act = nn.GELU()
        self.narrow = nn.Conv2d(channels, 3, 3, padding=1)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        return images + self.narrow(self.act(self.widen(images)))


class MaskedAutoencoder(nn.Module):
    """A face from a quarter of its patches.

    Arguments are the `architecture` of a model card: `size` pixels a side = 14 * `patch`; encoder `width`,
    `depth`, `heads`; `decoder_width`, `decoder_depth`, `decoder_heads`; `seam` channels over patch edges
    (0 for none). Raises ValueError for sizes that do not fit together.
    """

    def __init__(
        self,
        size: int = 112,
        patch: int = 8,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        decoder_width: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        seam: int = 0,
    ) -> None:
        super().__init__()
        if size != GRID * patch:
            raise ValueError(f"size {size} is not {GRID} patches of {patch} pixels")
        for name, channels, count in (("width", width, heads), ("decoder_width", decoder_width, decoder_heads)):
            if channels % count:
                raise ValueError(f"{name} {channels} is not a multiple of its {count} heads")
        self.size, self.patch = size, patch
        pixels = patch * patch * 3
        self.embed = nn.Linear(pixels, width)
        self.encoder = _blocks(width, depth, heads)
        self.encoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_embed = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.decoder = _blocks(decoder_width, decoder_depth, decoder_heads)
        self.decoder_norm = nn.LayerNorm(decoder_width, eps=1e-6)
        self.head = nn.Linear(decoder_width, pixels)
        self.seam = Seam(seam) if seam else nn.Identity()
        self.register_buffer("positions", sincos_positions(width), persistent=False)
        self.register_buffer("decoder_positions", sincos_positions(decoder_width), persistent=False)
        self.positions: Tensor
        self.decoder_positions: Tensor
        self._initialise()

    def _initialise(self) -> None:
        if (
            self.mask_token.is_meta
        ):  # nothing to initialise, and to ask for it makes torch import its compiler, for seconds
            return
        for module in (*self.encoder.modules(), *self.decoder.modules(), self.embed, self.decoder_embed, self.head):
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.mask_token, std=0.02)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The weights between inner layers, each (out, in): all but those that read or write pixels."""
        inner = (self.encoder, self.decoder_embed, self.decoder)
        return [parameter for part in inner for parameter in part.parameters() if parameter.ndim == 2]

    def forward(self, visible: Tensor, index: Tensor) -> Tensor:
        """Faces from visible patches.

        visible: (N, V, patch * patch * 3) in [0, 1], flattened as `patchify` does; index: (N, V) int64, the
        token each stands at, 0 <= index < 196, no token twice. Returns (N, 3, size, size) RGB, trained towards
        [0, 1] and not clamped. Every pixel is predicted, those of visible patches too.
        """
        tokens = self.embed(visible * 2 - 1) + self.positions[index]
        for block in self.encoder:
            tokens = block(tokens)
        tokens = self.decoder_embed(self.encoder_norm(tokens))
        where = index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        full = self.mask_token.to(tokens.dtype).expand(tokens.shape[0], TOKENS, -1).scatter(1, where, tokens)
        full = full + self.decoder_positions
        for block in self.decoder:
            full = block(full)
        faces = unpatchify(self.head(self.decoder_norm(full)), self.patch)
        return self.seam(faces) / 2 + 0.5


def _blocks(width: int, depth: int, heads: int) -> nn.ModuleList:
    blocks = [Block(width, heads) for _ in range(depth)]
    for block in blocks:
        # A CPU multiplies plain matrices faster than torch fuses them there: 110 faces/s against 76 in training.
        block.attn.fused_attn = torch.cuda.is_available()
    return nn.ModuleList(blocks)


def select(patches: Tensor, index: Tensor) -> Tensor:
    """The patches that `index` (N, V) int64 names, in its order: (N, tokens, D) to (N, V, D)."""
    return patches.gather(1, index.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
