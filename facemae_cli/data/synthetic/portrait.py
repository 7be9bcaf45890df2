"""One photo of one synthetic person."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.synthetic.camera import align, develop, take, turning_depth
from facemae_cli.data.synthetic.canvas import Canvas
from facemae_cli.data.synthetic.features import paint_features, paint_glasses
from facemae_cli.data.synthetic.hair import CUTS, comb, paint_back, paint_front
from facemae_cli.data.synthetic.head import paint_ears, paint_neck, paint_skull
from facemae_cli.data.synthetic.light import light_up
from facemae_cli.data.synthetic.person import Person, Shot

OVERSAMPLING = 2  # on top of borders that are painted soft
MIN_SIZE = 28


def render(person: Person, shot: Shot, size: int = 112) -> NDArray[np.uint8]:
    """The photo as (size, size, 3) uint8 RGB, aligned to the ArcFace template as an aligner would deliver it.

    A pure function of its arguments, to the rounding of numpy and OpenCV. Raises ValueError for a size under 28.
    """
    if size < MIN_SIZE:
        raise ValueError(f"a face of {size} pixels is too small; it must be at least {MIN_SIZE}")
    canvas = Canvas(OVERSAMPLING * size / 112, person.texture)
    strands = comb(person, canvas.scale)
    if not CUTS[person.hair].short:
        paint_back(canvas, person, strands)
    paint_neck(canvas, person, shot)
    if CUTS[person.hair].short:
        paint_ears(canvas, person)
    paint_skull(canvas, person, shot)
    paint_features(canvas, person, shot)
    paint_front(canvas, person, strands)
    paint_glasses(canvas, person)
    layers, depth = cv2.merge([*light_up(canvas, shot), canvas.cover]), turning_depth(canvas)
    pose = align(depth, canvas.scale, person, shot)
    return develop(take(layers, depth, canvas.scale, pose, OVERSAMPLING * size), person, shot, size)
