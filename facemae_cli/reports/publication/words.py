"""What is said of every dataset that facemae writes, in the words of a data sheet: how it came to be, what it is for,
what it risks and what it cannot promise."""

from __future__ import annotations

from facemae_cli.reports.publication.facts import Facts

NOT_FOR = (
    "identifying, tracking or looking up real people",
    "deciding anything about a person",
    "undoing the protection: masked and reconstructed faces must not be matched with photos of real people",
)
MAINTENANCE = (
    "Whoever publishes the dataset takes people out of it on request (`facemae withdraw`) and publishes it anew; "
    "facemae.json counts those withdrawn. Copies must be replaced."
)


def title(facts: Facts) -> str:
    """What the dataset is, in three words."""
    kind = "Reconstructed" if facts.reconstructed else "Masked" if facts.masked else "Aligned"
    return f"{kind} faces"


def summary(facts: Facts) -> str:
    """The dataset in two sentences."""
    made = (
        "Each was made by a masked autoencoder (FaceMAE, arXiv 2205.11090) from what was left of a masked photo of a "
        "real person; no pixel is copied from a photo."
        if facts.reconstructed and not facts.manifest.extra.get("visible_patches_pasted")
        else "Each was made by a masked autoencoder from what was left of a masked photo, and holds its visible pixels."
        if facts.reconstructed
        else "Each is a photo of a real person of which most patches are removed."
        if facts.masked
        else "They are photos of real people."
    )
    if facts.mixed_people:
        whose = f"a mixture of {facts.mixed_people} people: every face shows patches of photos of all of them"
    else:
        whose = "a person"
    return f"{facts.faces} images of faces, one folder or label {whose}, for training face recognisers. {made}"


def processing(facts: Facts) -> list[str]:
    """What was done to the photos, step by step."""
    manifest, steps = facts.manifest, []
    if manifest.mask_ratio is not None:
        how = f", strategy {manifest.strategy}" if manifest.strategy else ""
        steps.append(
            f"{100 * manifest.mask_ratio:.1f} % of each face ({manifest.grid}x{manifest.grid} patches) is removed{how}."
        )
    if facts.mixed_people:
        steps.append(
            f"Before, faces of {facts.mixed_people} people each were mixed, every photo with several others; of whom "
            "each is made only the publisher knows."
        )
    if facts.reconstructed and facts.model is not None:
        called = f"the model {facts.model.name}" if facts.model.name else "a model"
        steps.append(f"All faces were reconstructed by {called} (sha256 {facts.model.sha256}).")
        if facts.mixed_people:
            steps.append("Each was then turned, moved and stretched a little, by itself.")
        steps.append(f"Licence of the model: {facts.model.license or 'not stated in its card'}.")
        if facts.model.data:
            steps.append(f"What the model learnt from: {facts.model.data}.")
    if manifest.key_id is not None:
        steps.append(f"Masks or names come from a secret key ({manifest.key_id}): only its owner can tell who is who.")
    if manifest.seed:
        steps.append("Masks come from a seed, which is not a secret: a guessed name can be confirmed.")
    refused = sum(manifest.counts["refused"].values())
    steps.append(f"{manifest.counts['in']} images went in, {facts.faces} are in it, {refused} could not be used.")
    for key, words in (("excluded", "left out on request"), ("withdrawn", "withdrawn afterwards")):
        if manifest.extra.get(key):
            steps.append(f"{manifest.extra[key]} images were {words}.")
    return steps


def sensitive(facts: Facts) -> str:
    """What of a person is still in it."""
    if not facts.reconstructed and not facts.masked:
        return "It shows the faces of real people, and names where folders or labels are names."
    names = {
        "keyed": "Names are pseudonyms made by a secret key.",
        "kept": "Names are kept as they were in the source: check that they name nobody.",
    }.get(
        str(facts.manifest.names),
        "Names are those of the masked dataset: pseudonyms, unless they were kept.",
    )
    if facts.masked:
        return f"It shows visible patches of real faces. Whoever holds it can reconstruct it. {names}"
    return (
        "The images are made from faces of real people and resemble them: they are personal data where those people "
        f"can be found. {names}"
    )


def limits(facts: Facts) -> list[str]:
    """What the dataset cannot promise."""
    said = [
        "An audit measures the attacks that were tried: stronger ones may find more. Intervals are of sampling, not of "
        "what other attackers may do.",
        "Groups by age, skin, glasses and the like are as frequent as in the source, and may be reconstructed less "
        "well where the model saw few of them.",
    ]
    if facts.mixed_people:
        said.append("Faces are patchworks of several people: they have seams, and show nobody as they are.")
    elif facts.reconstructed:
        said.append("Hair, clothes, colours and background follow the photo; fine detail is the model's guess.")
    if not facts.figures.risks:
        said.append("It has not been audited: no figure here says how many of its people can be found.")
        if facts.elsewhere:
            said.append(f"Measured {facts.elsewhere}. Other faces and other people give other figures.")
    return said
