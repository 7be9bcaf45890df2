"""`facemae leakage`: can real photos still find their people in a release?"""

from pathlib import Path
from typing import Annotated, Literal

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import (
    Backend,
    BatchSize,
    Cache,
    Device,
    Groups,
    Overwrite,
    Precision,
    RefusedFile,
    Workers,
    attack,
    files,
    gates,
    privacy,
)


@task_command(example="facemae leakage --original raw --released released --max-leakage 0.2 --report audit.html")
def leakage(
    original: Annotated[
        Path,
        files("--original", metavar="DATA", help="The real faces: a folder of images, a .rec, .parquet, .zip or .tar."),
    ] = Path("raw"),
    released: Annotated[
        Path,
        files(
            "--released", metavar="DATA", help="What is attacked: a folder of images, a .rec, .parquet, .zip or .tar."
        ),
    ] = Path("released"),
    report: Annotated[Path | None, files("--report", metavar="FILE", help="Write an HTML page for people.")] = None,
    show_faces: Annotated[bool, files("--show-faces", help="Show faces of exposed people in --report.")] = False,
    overwrite: Overwrite = False,
    refused: RefusedFile = None,
    key: Annotated[
        Path | None,
        privacy(
            "--key",
            "-k",
            metavar="FILE",
            help="The key that pseudonyms came from.",
            show_default="facemae.key, if it is there",
        ),
    ] = None,
    attacker: Annotated[
        list[str] | None,
        attack(
            "--attacker",
            metavar="MODEL",
            help="An embedder beside embedder-v1, probe-v1 and thumbnails: a bundled name, a folder, .onnx, .pth or "
            "hf-hub:OWNER/NAME; repeatable.",
        ),
    ] = None,
    k: Annotated[
        str, attack("--k", metavar="K[,K...]", help="Among how many nearest faces a person counts as found.")
    ] = "2",
    identities: Annotated[
        str, attack("--identities", metavar="N[,N...],all", help="Among how many people, such as 100,1000,all.")
    ] = "all",
    trials: Annotated[
        int, attack("--trials", metavar="N", help="Samples of people for each number of --identities.")
    ] = 5,
    seed: Annotated[
        int, attack("--seed", metavar="N", help="What samples of people, masks and intervals start from.")
    ] = 0,
    imitation_model: Annotated[
        list[str] | None,
        attack(
            "--imitation-model",
            metavar="MODEL",
            help="Model with which attackers process faces of their own, as the release was made; repeatable.",
            show_default="the model of this one",
        ),
    ] = None,
    imitations: Annotated[
        int, attack("--imitations", metavar="N", help="Masks per photo of the attacker's own faces; 0: none are made.")
    ] = 1,
    non_members: Annotated[
        Path | None,
        attack(
            "--non-members",
            metavar="DATA",
            help="Faces of people who are not in the release.",
            show_default="half of the people, left out of it",
        ),
    ] = None,
    adapt: Annotated[
        Path | None,
        attack(
            "--adapt", metavar="DATA", help="Other faces, on which each attacker learns to see through the release."
        ),
    ] = None,
    known_members: Annotated[
        str | None,
        attack(
            "--known-members",
            metavar="N[,N...]",
            help="How many people the attacker knows, real and released, such as 10,50,200.",
        ),
    ] = None,
    groups: Groups = None,
    attributes: Annotated[
        Path | None,
        files("--attributes", metavar="FILE", help="A CSV like that of --groups, of what might be inferred of faces."),
    ] = None,
    sources: Annotated[
        Path | None,
        files(
            "--sources",
            metavar="FILE",
            help="A CSV of released, person, photo: all that each released face was made of, where that is several.",
            show_default="the one whose name it has",
        ),
    ] = None,
    max_leakage: Annotated[
        float | None,
        gates(
            "--max-leakage",
            metavar="SHARE",
            help="Most that other photos of the people may find, such as 0.2; the interval's end counts.",
        ),
    ] = None,
    max_leakage_same: Annotated[
        float | None,
        gates("--max-leakage-same", metavar="SHARE", help="The same of the very photos that faces were made of."),
    ] = None,
    max_tpr: Annotated[
        float | None,
        gates(
            "--max-tpr",
            metavar="SHARE",
            help="Most of the people in it who may be told as such at 1 % false alarms; the interval's end counts.",
        ),
    ] = None,
    photo: Annotated[
        Literal["other", "same"],
        gates("--photo", metavar="other|same", help="Whether --max-tpr is about other photos or the very one."),
    ] = "other",
    max_copies: Annotated[
        int | None,
        gates(
            "--max-copies",
            metavar="N",
            help="Released faces that may be real ones, exactly or nearly; 0 where another gate is asked for.",
        ),
    ] = None,
    min_attacker: Annotated[
        float,
        gates(
            "--min-attacker",
            metavar="SHARE",
            help="What an attacker must find among the real photos for its result to count.",
        ),
    ] = 0.6,
    allow_shared_ancestor: Annotated[
        bool,
        gates(
            "--allow-shared-ancestor",
            "--allow-phi",
            help="Let an attacker count who shares an ancestor with the release's model.",
        ),
    ] = False,
    cache: Cache = None,
    batch_size: BatchSize = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    device: Device = "auto",
    workers: Workers = None,
) -> None:
    """Attack a release: how often real photos still find their people in it, and gate on it.

    By other photos of the people and by the very photos that were released; beside it chance, what the same attackers
    find among the real photos, imitations of the release, and whether it can be told who is in it at all.
    """
