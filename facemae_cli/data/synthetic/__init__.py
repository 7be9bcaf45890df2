"""Synthetic people: faces that are nobody's, for the demo and for tests.

`Person` says who is shown, `Shot` how the photo was taken, `render` makes the photo; `people` and `write_dataset` make
many. On the way to a photo `head`, `features` and `hair` fill the maps of a `canvas` (colour, relief, gloss), seen from
the front; `light` lights them; `camera` turns the head, aligns it to the ArcFace template, adds background and noise.
"""

from __future__ import annotations

from facemae_cli.data.synthetic.dataset import people, write_dataset
from facemae_cli.data.synthetic.person import Person, Shot
from facemae_cli.data.synthetic.portrait import render

__all__ = ["Person", "Shot", "people", "render", "write_dataset"]
