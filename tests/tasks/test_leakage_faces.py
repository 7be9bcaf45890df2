"""An audit of real faces: masked, drawn anew by the bundled model, and attacked by a real embedder."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.maskcases import key_file

from facemae_cli.data.open import open_source
from facemae_cli.tasks.leakage import leakage
from facemae_cli.tasks.mask import mask
from facemae_cli.tasks.reconstruct import reconstruct

PEOPLE = 12


@pytest.mark.faces
def test_a_release_hides_real_people_better_than_their_photos_do(tmp_path: Path, faces_root: Path) -> None:
    source = open_source(faces_root / "private")
    people = sorted({str(source.name(index).identity) for index in range(200)})[:PEOPLE]
    for index in range(200):
        name = source.name(index)
        if name.identity in people:
            (tmp_path / "raw" / str(name.identity)).mkdir(parents=True, exist_ok=True)
            (tmp_path / "raw" / str(name.identity) / f"{name.photo}.jpg").write_bytes(source.read(index))
    key_file(tmp_path / "facemae.key")  # always the same masks: with so few people a verdict may hang on them
    mask(input=tmp_path / "raw", out=tmp_path / "masked", key=tmp_path / "facemae.key")
    reconstruct(input=tmp_path / "masked", out=tmp_path / "released")
    result = leakage(
        original=tmp_path / "raw",
        released=tmp_path / "released",
        attacker=[str(faces_root / "mobilefacenet.onnx")],
        key=tmp_path / "facemae.key",
        k="1",
        max_leakage=0.9,
    )
    own = (found for found in result.findings if found.attacker == "mobilefacenet")
    risk = {(found.attack, found.photo): found.risk for found in own}
    assert risk["real_to_real", "other"] > 0.9
    assert risk["real_to_released", "other"] < risk["real_to_real", "other"]
    assert result.names.photos_join
    barred = {attacker.name: " ".join(attacker.barred) for attacker in result.attackers}
    assert "shares an ancestor" in barred["mobilefacenet"]
    assert result.verdict.status == "passed"  # by those that share none, and are always there
