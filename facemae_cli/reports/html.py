"""A page that stands alone: sections of words, facts, tables, plots and pictures, as one HTML file without scripts.

All text is escaped, and what cannot be shown is spelt out, so that names may hold anything. Nothing is fetched: the
page forbids it by its Content-Security-Policy. Equal content gives equal bytes.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from facemae_cli.data.images.codec import decode_visible, encode_jpeg, resize
from facemae_cli.reports.plots import Plot
from facemae_cli.reports.text import NONE, clean

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

PICTURE_SIDE = 160  # pixels: larger pictures are scaled down to it
QUALITY = 90
FIGURES = 40  # letters: what is longer in a table is words, which may be broken anywhere
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Paragraphs:
    """Paragraphs; smaller where they are a `remark`."""

    kind: ClassVar[str] = "words"
    paragraphs: Sequence[str]
    remark: bool = False


Tone = Literal["passed", "failed", "open"]


@dataclass(frozen=True)
class Callout:
    """A judgement that stands out: passed, failed, or open where it was refused, with the reasons; and, after a line of
    `advice`, a command that the reader may want to type."""

    kind: ClassVar[str] = "verdict"
    tone: Tone
    words: str
    reasons: Sequence[str] = ()
    advice: str = ""
    command: str = ""


@dataclass(frozen=True)
class Headline:
    """A figure in large letters, what it is a figure of, lines about it, and what was judged of it."""

    figure: str
    words: str
    lines: Sequence[str] = ()
    judged: str = ""
    tone: Tone = "open"


@dataclass(frozen=True)
class Headlines:
    """Figures of one rank, side by side where there is room."""

    kind: ClassVar[str] = "headlines"
    figures: Sequence[Headline]


@dataclass(frozen=True)
class Facts:
    """Names and their values, such as settings and digests; a value is a line, or several."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, str | Sequence[str]]]


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows; the others hold figures. On a phone each row becomes a block.

    A row of one cell is a heading of the rows below it.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    @property
    def crowded(self) -> bool:
        """Whether so many cells of a row hold an interval that these need lines of their own."""
        return any(sum(" (" in cell for cell in row[1:]) > 3 for row in self.rows)

    @classmethod
    def terse(cls, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> Table:
        """A table whose caption says what a column would repeat in all rows; a column of nothing is left out."""
        figures = [row for row in rows if len(row) > 1]
        kept, said = [0], [caption] if caption else []
        for at in range(1, len(columns)):
            values = {row[at] for row in figures}
            if len(values) != 1 or len(figures) < 2:
                kept.append(at)
            elif values != {NONE}:
                said.append(f"{columns[at]}: {values.pop()}")
        cut = [[row[at] for at in kept] if len(row) > 1 else row for row in rows]
        return cls([columns[at] for at in kept], cut, "; ".join(said))


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
class Picture:
    """An encoded JPEG, PNG, WebP or BMP, the few words beneath it, and what it shows for who cannot see it."""

    data: bytes
    label: str
    alt: str


@dataclass(frozen=True)
class Shown:
    """Pictures that belong together, with the lines beneath them."""

    pictures: Sequence[Picture]
    lines: Sequence[str]


@dataclass(frozen=True)
class Gallery:
    """Groups of pictures, under a heading and perhaps a few words."""

    kind: ClassVar[str] = "gallery"
    heading: str
    groups: Sequence[Shown]
    words: str = ""


Block = Paragraphs | Callout | Headlines | Facts | Table | Figure | Row | Gallery


@dataclass(frozen=True)
class Section:
    """A heading and what stands beneath it."""

    heading: str
    blocks: Sequence[Block]


def render(title: str, subtitle: str, opening: Sequence[Block], sections: Sequence[Section], closing: str) -> str:
    """The page as HTML text, to be written as UTF-8.

    `opening` stands before the first section, `closing` is the line at the end. Pictures are encoded again, so that
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
    environment.filters |= {"words": _words, "figures": _figures}
    return environment.get_template("page.html")


def _words(text: str) -> Markup:
    """Words in which no line ends between a figure and its percent sign, or in the middle of an option."""
    from markupsafe import Markup, escape

    kept = escape(re.sub(r"(?<=\d) %", f"{NO_BREAK}%", clean(text)))
    return Markup(re.sub(r"(?<=\w)\+(?=\w)", "<wbr>+", OPTION.sub(r"<code>\g<0></code>", str(kept))))


def _figures(text: str, broken: bool = False) -> str:
    """The cell of a table: one line, or, `broken`, one that may end before what stands in brackets."""
    said = clean(text)
    return re.sub(r" (?!\()" if broken else " ", NO_BREAK, said) if len(said) <= FIGURES else said


def _spelt_out(value: Any) -> Any:
    """Control characters, newlines and bytes that are not text as escapes; markup and spaces of ours as they are."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return NO_BREAK.join(clean(part) for part in value.split(NO_BREAK))


def _data_uri(data: bytes) -> str:
    face = decode_visible(data)
    height, width = face.shape[:2]
    shrink = PICTURE_SIDE / max(height, width)
    if shrink < 1:
        face = resize(face, max(round(height * shrink), 1), max(round(width * shrink), 1))
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(face, QUALITY)).decode("ascii")
