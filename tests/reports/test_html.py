from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.errors import FaceError
from facemae_cli.reports.html import (
    Block,
    Callout,
    Facts,
    Figure,
    Gallery,
    Headline,
    Headlines,
    Paragraphs,
    Picture,
    Row,
    Section,
    Shown,
    Table,
    render,
)
from facemae_cli.reports.plots import LegendEntry, Plot

EVIL = "<script>alert('&\"')</script>"
PLOT = Plot(
    '<svg viewBox="0 0 1 1"><path id="a-1" d="M 0 0"/></svg>',
    (LegendEntry("real", 0), LegendEntry(EVIL, 7, filled=True)),
)


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside of styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] != "style":
            self.texts.append(data.strip())

    def having(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag and attributes.items() <= found.items()]


def face(side: int = 112, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def whole() -> str:
    """A page of every kind of block, with hostile text in every place that takes some."""
    photo = encode_png(face())
    figure = Figure(PLOT, EVIL, EVIL)
    opening: list[Block] = [Callout("failed", EVIL, [EVIL], EVIL, EVIL), Paragraphs([EVIL, "plain"])]
    opening += [Headlines([Headline(EVIL, EVIL, [EVIL], EVIL, "passed")]), Paragraphs([EVIL], remark=True)]
    blocks: list[Block] = [Facts([(EVIL, EVIL), (EVIL, [EVIL, EVIL])]), Table([EVIL] * 3, [[EVIL], [EVIL] * 3], EVIL)]
    picture = Picture(photo, EVIL, EVIL)
    blocks += [figure, Row([figure]), Gallery(EVIL, [Shown([picture, picture], [EVIL, "second"])], EVIL)]
    return render(EVIL, EVIL, opening, [Section(EVIL, blocks)], EVIL)


def test_every_text_is_text(whole: str) -> None:
    page = Reader(whole)
    assert page.open == []
    assert not page.having("script")
    assert page.texts.count(EVIL) == 37
    assert page.having("div", **{"aria-label": EVIL})
    assert page.having("td", **{"data-column": EVIL})
    assert whole.count("alert(") == 37 + 6


def test_nothing_is_fetched_or_run(whole: str) -> None:
    page = Reader(whole)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert page.having("meta", **{"http-equiv": "Content-Security-Policy"}) == [
        {"http-equiv": "Content-Security-Policy", "content": policy}
    ]
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]*", "", whole))
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")


def test_the_page_fits_phones_schemes_and_paper(whole: str) -> None:
    assert Reader(whole).having("meta", name="viewport", content="width=device-width, initial-scale=1")
    for rule in ("@media (prefers-color-scheme: dark)", "@media print", "@media screen and (max-width: 40rem)"):
        assert rule in whole
    # the same names are given a colour in all three
    light, dark, paper = re.findall(r":root \{([^}]*)\}", whole)
    assert set(re.findall(r"--[\w-]+(?=:)", light)) == set(re.findall(r"--[\w-]+(?=:)", dark))
    assert set(re.findall(r"--[\w-]+(?=:)", light)) == set(re.findall(r"--[\w-]+(?=:)", paper))


def colors(html: str) -> list[dict[str, str]]:
    """The page's colours in the light, in the dark and on paper."""
    return [dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in re.findall(r":root \{([^}]*)\}", html)]


def luminance(color: str) -> float:
    """WCAG 2.2's relative luminance."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_the_standard_does() -> None:
    assert contrast("#fff", "#000000") == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


def test_words_have_a_contrast_of_4_5_and_lines_of_3(whole: str) -> None:
    themes = colors(whole)
    assert len(themes) == 3
    for theme in themes:
        for words in ("ink", "faint", "passed", "failed", "open"):
            assert min(contrast(theme[words], theme[ground]) for ground in ("paper", "shade")) >= 4.5, (words, theme)
        for number in range(1, 7):
            assert contrast(theme[f"series-{number}"], theme["paper"]) >= 3, (number, theme)


def test_paper_is_white_whatever_the_screen_is_and_its_pages_are_numbered(whole: str) -> None:
    paper = whole[whole.rindex("@media print {\n  @page") :]
    assert "counter(page)" in paper
    assert colors(whole)[2]["paper"] == colors(whole)[2]["shade"] == "#fff"
    print_colors = whole.index("@media print {\n  :root")
    assert print_colors > whole.index("@media (prefers-color-scheme: dark)")  # the later rule of equal weight wins


def test_headings_go_down_one_level_at_a_time(whole: str) -> None:
    levels = [int(tag[1]) for tag, _ in Reader(whole).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels == [1, 2, 3]


def test_every_picture_says_what_it_shows(whole: str) -> None:
    page = Reader(whole)
    assert len(page.having("img", alt=EVIL)) == 2
    assert len(page.having("figcaption")) == 4


def test_a_row_of_one_cell_heads_those_below_it() -> None:
    table = Table(["who", "rate"], [["by a"], ["x", "1 %"], ["by b"], ["y", "2 %"]])
    page = Reader(render("t", "s", [table], [], "c"))
    assert page.having("th", colspan="2", scope="rowgroup") == [{"colspan": "2", "scope": "rowgroup"}] * 2
    assert len(page.having("td", **{"data-column": "rate"})) == 2


def test_what_all_rows_repeat_is_said_in_the_caption() -> None:
    rows = [["by a"], ["x", "2", "–", "1 %"], ["by b"], ["y", "2", "–", "3 %"]]
    table = Table.terse(["who", "K", "of", "rate"], rows, "Rates")
    assert (table.columns, table.caption) == (["who", "rate"], "Rates; K: 2")
    assert table.rows == [["by a"], ["x", "1 %"], ["by b"], ["y", "3 %"]]
    assert Table.terse(["who", "K"], [["x", "2"]], "").columns == ["who", "K"]


def test_no_line_ends_within_a_figure_or_an_option() -> None:
    space = "\N{NO-BREAK SPACE}"
    cells = ["y (1 %)"] * 4
    blocks = [Paragraphs(["12 % of all, --max-leakage is for it+that"]), Table(["a", "b"], [["x", "12 % (1 to 2)"]])]
    html = render("t", "s", [*blocks, Table(["a"] * 5, [["x", *cells]])], [], "c")
    assert f"12{space}% of all, <code>--max-leakage</code> is for it<wbr>+that" in html
    assert f">12{space}%{space}(1{space}to{space}2)<" in html
    assert html.count(f">y (1{space}%)<") == 4  # where a row has many intervals these may have lines of their own


def test_plots_stand_as_they_are_with_their_keys(whole: str) -> None:
    assert whole.count(PLOT.svg) == 2
    page = Reader(whole)
    assert len(page.having("svg", **{"class": "series-1"})) == 2
    assert len(page.having("svg", **{"class": "series-2"})) == 2  # the eighth series wears the second's colour
    alone = Figure(Plot(PLOT.svg, PLOT.legend[:1]), "caption", "words")
    assert "real" not in render("t", "s", [alone], [], "c")


def test_names_that_are_no_text_are_spelt_out() -> None:
    html = render("a\udcffb\x00\x1b[31m\u202egpj", "two\nlines", [], [], "é 日本")
    page = Reader(html.encode("utf-8").decode("utf-8"))
    assert page.texts == ["a\\udcffb\\x00\\x1b[31m\\u202egpj"] * 2 + ["two\\nlines", "é 日本"]


def shown(data: bytes) -> bytes:
    (source,) = re.findall(
        r'<img src="([^"]*)"', render("t", "s", [Gallery("h", [Shown([Picture(data, "l", "a")], [])])], [], "c")
    )
    head, _, body = source.partition(",")
    assert head == "data:image/jpeg;base64"
    return base64.b64decode(body)


def pixels(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def test_pictures_carry_nothing_but_pixels() -> None:
    jpeg = encode_jpeg(cv2.GaussianBlur(face(), (0, 0), 8))
    comment = b"\xff\xfe\x00\x0fcamera of Ann"
    got = shown(jpeg[:2] + comment + jpeg[2:])
    assert b"Ann" not in got
    assert np.abs(pixels(got) - pixels(jpeg)).mean() < 2


def test_large_pictures_are_scaled_down_and_small_ones_kept() -> None:
    assert pixels(shown(encode_png(face(600)[:300]))).shape == (80, 160, 3)
    assert pixels(shown(encode_png(face(20)))).shape == (20, 20, 3)


def test_a_masked_face_is_shown_on_black() -> None:
    masked = np.full((16, 16, 4), 200, np.uint8)
    masked[..., 3] = 255
    masked[:8] = 0
    got = pixels(shown(encode_png(masked)))
    assert got[:6].max() < 30
    assert got[10:].min() > 170


def test_what_is_no_picture_is_an_error() -> None:
    with pytest.raises(FaceError):
        shown(b"GIF89a")
