"""Whose patch is whose in a mixed face: a region of the grid for each person, as smooth as features are large.

It is the same in all faces of one label, so that what a recogniser sees of a mixture stays together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facemae_cli.masking.patches import GRID, TOKENS
from facemae_cli.masking.smooth_noise import VALUES, smooth_fields, uniform

# Eyes, nose and mouth in the ArcFace template, with a patch around them: shared out apart from the rest.
_CENTRE = np.zeros((GRID, GRID), np.bool_)
_CENTRE[4:13, 2:12] = True
CENTRE = _CENTRE.reshape(TOKENS)


def owners(label: bytes, people: int) -> NDArray[np.intp]:
    """(196,) the number of the person, below `people`, that each patch is taken from, by the secret `label`.

    The centre of the face, and all around it, are each shared out in equal parts (but for a patch).
    """
    fields = smooth_fields(uniform(label, VALUES * people), GRID, GRID).reshape(people, TOKENS)
    owner = np.full(TOKENS, people - 1)
    for place in (CENTRE, ~CENTRE):
        free = place.copy()
        for person in range(people - 1):
            size = round(place.sum() * (person + 1) / people) - round(place.sum() * person / people)
            highest = np.argsort(np.where(free, -fields[person], np.inf), kind="stable")[:size]
            owner[highest] = person
            free[highest] = False
    return owner
