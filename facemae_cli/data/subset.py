"""Some of a dataset's faces, as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from facemae_cli.data.faces import FaceSource, Name, Portion, Refusal


class Subset(FaceSource):
    """The faces of `source` but for those numbered in `left_out`, in their order; `refused` adds to its own.

    `kept`: the numbers that they have in `source`.
    """

    def __init__(self, source: FaceSource, left_out: AbstractSet[int], refused: Sequence[Refusal] = ()) -> None:
        self.source = source
        self.path, self.kind = source.path, source.kind
        self.refused = [*source.refused, *refused]
        self.ignored, self.passed_over = source.ignored, source.passed_over
        self.kept = [index for index in range(len(source)) if index not in left_out]

    def __len__(self) -> int:
        return len(self.kept)

    def name(self, index: int) -> Name:
        return self.source.name(self.kept[index])

    def where(self, index: int) -> str:
        return self.source.where(self.kept[index])

    def read(self, index: int) -> bytes:
        return self.source.read(self.kept[index])

    def portion(self, indexes: Sequence[int]) -> Portion:
        return self.source.portion([self.kept[index] for index in indexes])
