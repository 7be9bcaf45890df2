"""Some of a dataset's faces, as a dataset."""

from helpers.maskcases import make_folder

from facemae_cli.data.faces import Refusal
from facemae_cli.data.open import open_source
from facemae_cli.data.subset import Subset


def test_faces_left_out_are_gone_and_the_others_keep_their_order(tmp_path):
    source = open_source(make_folder(tmp_path / "raw", {"anna": 2, "bert": 2}))
    refused = Refusal("somewhere", "reason", "detail")
    some = Subset(source, {0, 2}, [refused])
    assert [some.name(index) for index in range(len(some))] == [source.name(1), source.name(3)]
    assert [some.read(index) for index in range(len(some))] == [source.read(1), source.read(3)]
    assert some.where(1) == source.where(3)
    assert some.refused == [*source.refused, refused]
    assert (some.path, some.kind, some.ignored) == (source.path, source.kind, source.ignored)
