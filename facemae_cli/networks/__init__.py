"""Plain nn.Module code on timm blocks."""
