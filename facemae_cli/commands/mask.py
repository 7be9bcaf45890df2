"""`facemae mask`: remove most of each face for good."""

from pathlib import Path
from typing import Annotated, Literal

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import KeyFile, Overwrite, RefusedFile, Resume, Seed, Workers, files, privacy

Level = Literal["light", "strong"]
Strategy = Literal["random", "eyes", "mouth", "parts"]


@task_command(example="facemae mask -i raw -o masked -k facemae.key --refused refused.jsonl")
def mask(
    input: Annotated[
        Path, files("--in", "-i", metavar="DATA", help="Raw faces: a folder of images, a .rec, .parquet, .zip or .tar.")
    ] = Path("raw"),
    out: Annotated[
        Path, files("--out", "-o", metavar="DATA", help="Masked faces: a folder, X.rec or X.parquet.")
    ] = Path("masked"),
    ratio: Annotated[
        float | None,
        privacy(
            "--ratio",
            metavar="SHARE",
            help="Share of each face to hide, of 196 patches.",
            show_default="0.75; for parts always 0.816",
        ),
    ] = None,
    strategy: Annotated[
        Strategy,
        privacy(
            "--strategy",
            metavar="STRATEGY",
            help="Which patches go first: random, eyes or mouth; parts hides all but eyes and mouth corners.",
        ),
    ] = "random",
    key: KeyFile = Path("facemae.key"),
    seed: Seed = None,
    keep_names: Annotated[
        bool, privacy("--keep-names", help="Keep names and order instead of pseudonyms and an order by key.")
    ] = False,
    size: Annotated[
        int | None, files("--size", metavar="N", help="Resize each whole face to N x N pixels first; 14 must divide N.")
    ] = None,
    exclude: Annotated[
        Path | None,
        privacy(
            "--exclude", metavar="FILE", help="Leave out the people FILE lists, one per line: person, or person/photo."
        ),
    ] = None,
    allow_unaligned: Annotated[
        bool,
        privacy(
            "--allow-unaligned",
            help="Mask pictures that cannot be aligned crops too: a patch of one may show a whole face.",
        ),
    ] = False,
    protect: Annotated[
        Level | None,
        privacy(
            "--protect",
            metavar="light|strong",
            help="Mix faces of several people, light or strong: protects more, even against the very photo.",
        ),
    ] = None,
    sources: Annotated[
        Path,
        privacy(
            "--sources",
            metavar="FILE",
            help="With --protect: write which people each mixed face was made from (CSV, 0600).",
        ),
    ] = Path("facemae.sources.csv"),
    overwrite: Overwrite = False,
    resume: Resume = False,
    refused: RefusedFile = None,
    workers: Workers = None,
) -> None:
    """Remove most of each face for good: raw faces in, masked faces (RGBA PNG) out."""
