"""A page that stands alone: sections of words, facts, tables, plots and pictures, as one HTML file without scripts.

All text is escaped, and what cannot be shown is spelt out, so that names may hold anything. Nothing is fetched: the
page forbids it by its Content-Security-Policy. Equal content gives equal bytes.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from facemae_cli.data.images.codec import decode_visible, encode_jpeg, resize
from facemae_cli.reports.plots import Plot
from facemae_cli.reports.text import clean

if TYPE_CHECKING:
    from jinja2 import Template

PICTURE_SIDE = 160  # pixels: larger pictures are scaled down to it
QUALITY = 90


@dataclass(frozen=True)
class Paragraphs:
    """Paragraphs; smaller where they are a `remark`."""

    kind: ClassVar[str] = "words"
    paragraphs: Sequence[str]
    remark: bool = False


@dataclass(frozen=True)
class Callout:
    """A judgement that stands out: passed, failed, or open where it was refused, with the reasons."""

    kind: ClassVar[str] = "verdict"
    tone: Literal["passed", "failed", "open"]
    words: str
    reasons: Sequence[str] = ()


@dataclass(frozen=True)
class Facts:
    """Names and their values, such as settings and digests."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows; the others hold figures. On a phone each row becomes a block."""

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A plot, what it shows, and, for who cannot see it, its outcome in words."""

    kind: ClassVar[str] = "figure"
    plot: Plot
    caption: str
    description: str


@dataclass(frozen=True)
class Row:
    """Figures side by side where there is room."""

    kind: ClassVar[str] = "row"
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Shown:
    """Pictures that belong together, each encoded JPEG, PNG, WebP or BMP, with the lines beneath them."""

    pictures: Sequence[bytes]
    lines: Sequence[str]


@dataclass(frozen=True)
class Gallery:
    """Groups of pictures, under a heading."""

    kind: ClassVar[str] = "gallery"
    heading: str
    groups: Sequence[Shown]


Block = Paragraphs | Callout | Facts | Table | Figure | Row | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and what stands beneath it."""

    heading: str
    blocks: Sequence[Block]


def render(title: str, subtitle: str, opening: Sequence[Block], sections: Sequence[Section], closing: str) -> str:
    """The page as HTML text, to be written as UTF-8.

    `opening` stands before the first section, `closing` is the line at the end. Pictures are encoded anew, so that
    nothing else of their files gets into the page. Raises FaceError for a picture that cannot be read.
    """
    return _template().render(
        title=title, subtitle=subtitle, opening=opening, sections=sections, closing=closing, picture=_data_uri
    )


@functools.cache
def _template() -> Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("facemae_cli.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_spelt_out,
    )
    return environment.get_template("page.html")


def _spelt_out(value: Any) -> Any:
    """Control characters, newlines and bytes that are not text as escapes; markup of ours as it is."""
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _data_uri(data: bytes) -> str:
    face = decode_visible(data)
    height, width = face.shape[:2]
    shrink = PICTURE_SIDE / max(height, width)
    if shrink < 1:
        face = resize(face, max(round(height * shrink), 1), max(round(width * shrink), 1))
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(face, QUALITY)).decode("ascii")
