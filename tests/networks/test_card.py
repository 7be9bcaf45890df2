"""Cards: what is read, what is refused, and how they are written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from facemae_cli.errors import InputError
from facemae_cli.networks.card import MAX_CARD_BYTES, Card, InputSpec, Model, ancestors, card_text, load_card

GOOD = """\
kind: embedder
weights: x.onnx
input: {size: 112, color: bgr, mean: [0.4, 0.5, 0.6], std: [0.1, 0.2, 0.3]}
dim: 128
"""
ONE, TWO = "1" * 64, "a2" * 32


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return path


def refusal(tmp_path: Path, text: str) -> str:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_card(path)
    message = str(caught.value)
    assert message.count("\n") == 0
    assert str(path) in message
    return message


def test_a_card_is_read(tmp_path: Path) -> None:
    card = load_card(write(tmp_path, GOOD))
    assert card.kind == "embedder"
    assert card.input == InputSpec(112, "bgr", (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    assert (card.weights, card.dim, card.lineage, card.assumed, card.paste_visible) == ("x.onnx", 128, (), False, False)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("kind: embedder", "kind: gan", "`kind`"),
        ("kind: embedder\n", "", "`kind` is missing"),
        ("size: 112, ", "", "`input.size` is missing"),
        ("size: 112", "size: 0", "`input.size`"),
        ("size: 112", "size: 5000", "`input.size`"),
        ("size: 112", "size: '112'", "`input.size`"),
        ("size: 112", "size: true", "`input.size`"),
        ("color: bgr", "color: gbr", "`input.color`"),
        ("color: bgr", "colour: bgr", "`input.colour` is not a key"),
        ("[0.4, 0.5, 0.6]", "[0.4, 0.5]", "`input.mean`"),
        ("[0.4, 0.5, 0.6]", "0.5", "`input.mean`"),
        ("[0.4, 0.5, 0.6]", "[0.4, 0.5, .nan]", "`input.mean`"),
        ("[0.1, 0.2, 0.3]", "[0.1, 0.0, 0.3]", "`input.std`"),
        ("[0.1, 0.2, 0.3]", "[0.1, 0.2, .inf]", "`input.std`"),
        ("[0.1, 0.2, 0.3]", "[0.1, 0.2, yes]", "`input.std`"),
        ("dim: 128", "dim: 0", "`dim`"),
        ("dim: 128", "dim: 128.0", "`dim`"),
        ("weights: x.onnx", "weights: ../x.onnx", "`weights`"),
        ("weights: x.onnx", "weights: /x.onnx", "`weights`"),
        ("weights: x.onnx", "weights: '..'", "`weights`"),
        ("weights: x.onnx", "weights: [x]", "`weights`"),
        ("dim: 128", "lineage: [abc]", "`lineage`"),
        ("dim: 128", f"lineage: {ONE}", "`lineage`"),
        ("dim: 128", f"lineage: ['{TWO.upper()}']", "`lineage`"),
        ("dim: 128", "architecture: [1]", "`architecture`"),
        ("dim: 128", "recipe: {lr: .nan}", "`recipe.lr`"),
        ("dim: 128", "license: 3", "`license`"),
        ("dim: 128", "assumed: maybe", "`assumed`"),
        ("dim: 128", "input: 3", "twice"),
        ("kind: embedder", "kind: mae", "`dim`"),
        ("dim: 128", "dims: 128", "known are kind, input, name"),
    ],
)
def test_what_a_card_may_not_say_is_refused_by_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert old in GOOD
    assert key in refusal(tmp_path, GOOD.replace(old, new))


def test_an_autoencoder_needs_its_architecture(tmp_path: Path) -> None:
    text = GOOD.replace("kind: embedder", "kind: mae").replace("dim: 128\n", "")
    assert "`architecture`" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- kind\n",
        "kind: [\n",
        "\x00\x01",
        "a: &a [x, x]\nb: [*a, *a]\n",
        "? [kind]\n: x\n",
        "kind: !!python/object/apply:os.system [true]\n",
        "[" * 5000,
        "x: " + "y" * MAX_CARD_BYTES,
    ],
)
def test_what_is_no_card_at_all_is_one_line(tmp_path: Path, text: str) -> None:
    refusal(tmp_path, text)


def test_a_missing_card_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_card(tmp_path / "none.yaml")


def test_a_long_value_does_not_flood_the_message(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, GOOD.replace("kind: embedder", "kind: " + "x" * 10000))) < 500


def full_card() -> Card:
    return Card(
        kind="mae",
        name="mine",
        weights="weights.safetensors",
        input=InputSpec(112),
        architecture={"patch": 8, "width": 64},
        paste_visible=True,
        recipe={"lr": 1e-5, "fitted": "2026-11-21"},
        results={"psnr": 21.25},
        source="nowhere — “quoted”",
        license="Apache-2.0",
        data={"faces": 100},
        lineage=(ONE, TWO),
        notes=["one", "two"],
    )


def test_a_card_survives_writing(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(card_text(full_card()))
    assert load_card(path) == full_card()
    assert path.read_bytes() == card_text(load_card(path)).encode()


def test_a_written_card_starts_with_what_matters_and_leaves_defaults_out() -> None:
    card = Card(kind="embedder", weights="x.onnx", input=InputSpec(112, "bgr"), dim=128)
    assert card_text(card) == (
        "kind: embedder\nweights: x.onnx\ninput:\n  size: 112\n  color: bgr\n"
        "  mean: [0.5, 0.5, 0.5]\n  std: [0.5, 0.5, 0.5]\ndim: 128\n"
    )


def test_keys_come_in_one_order() -> None:
    keys = [line.split(":")[0] for line in card_text(full_card()).splitlines() if line[0].isalpha()]
    assert keys == [
        "kind", "name", "weights", "input", "architecture", "paste_visible", "recipe", "results", "source", "license",
        "data", "lineage", "notes",
    ]  # fmt: skip


def test_a_models_digest_is_that_of_its_weights(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"abc")
    model = Model("m", full_card(), tmp_path, tmp_path / "w")
    assert model.digest == hashlib.sha256(b"abc").hexdigest()
    assert ancestors(model) == {model.digest, ONE, TWO}


def test_a_model_without_weights_has_no_digest_but_a_lineage(tmp_path: Path) -> None:
    model = Model("m", full_card(), tmp_path)
    assert model.digest is None
    assert ancestors(model) == {ONE, TWO}


def test_weights_that_vanished_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        _ = Model("m", full_card(), tmp_path, tmp_path / "none").digest
