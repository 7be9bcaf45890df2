"""The README's five commands, word for word, from a folder of photos to a dataset that is audited and described."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers.maskcases import encoded, put
from helpers.scenes import one_face

from facemae_cli.app import main
from facemae_cli.data.images.codec import decode
from facemae_cli.data.open import open_source
from facemae_cli.data.synthetic import people

README = (Path(__file__).parents[2] / "README.md").read_text()
HEADING = "## From photos to a published dataset"


def five_commands() -> list[list[str]]:
    """The words after `facemae` of each line of the README's section, where `>` sends the output."""
    section = README[README.index(HEADING) :]
    block = re.search(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert block is not None
    return [line.split("#")[0].split() for line in block[1].splitlines()]


@pytest.mark.faces
def test_the_five_commands_of_the_readme_end_in_a_published_dataset(
    faces_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("facemae.yaml").write_text(f"align: {{detector: {faces_root / 'yunet.onnx'}}}\n")
    for number, (name, face) in enumerate(people(6, 4)):
        scene = one_face(face, scale=1.6, angle=(number % 5 - 2) * 10.0, seed=number)
        put(Path("photos", str(name.identity), name.photo), encoded(scene.photo, ".jpg"))
    commands = five_commands()
    assert [words[1] for words in commands] == ["align", "mask", "reconstruct", "leakage", "convert"]
    for words in commands:
        run = words[1 : words.index(">")] if ">" in words else words[1:]
        assert main(run) == 0, (words, capsys.readouterr().err)
        said = capsys.readouterr().out
        if ">" in words:
            Path(words[-1]).write_text(said)
    published = open_source(Path("published.parquet"))
    assert len(published) == 24
    assert not published.refused
    assert decode(published.read(0)).shape == (112, 112, 3)
    audit = json.loads(Path("audit.json").read_text())
    assert audit["results"]
    card = Path("published.README.md").read_text()
    assert "real photos that find their person by other photos of them" in card
    described = json.loads(Path("published.croissant.json").read_text())
    assert described["@type"] == "sc:Dataset"
    real = {str(open_source(Path("raw")).name(index).identity) for index in range(24)}
    assert not [name for name in real if name in card or name in json.dumps(described)]
