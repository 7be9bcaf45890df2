"""What an image is in memory, and how bright its colours are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB or (H, W, 4) RGBA, 0 to 255, unless said otherwise
LUMA = (0.299, 0.587, 0.114)  # how much red, green and blue count in brightness: ITU-R BT.601, as JPEG has it
