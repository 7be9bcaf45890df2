"""File names as they come: put in an order that is the same everywhere, and made fit to be shown on one line."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable

from facemae_cli.errors import FaceError

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # with which Windows' editors begin a text
_JOINER = "\u200d"  # holds emoji together


def in_order(names: Iterable[str]) -> list[str]:
    """`names` sorted by the UTF-8 bytes of their NFC form, then by their own: macOS and Linux agree on it.

    Code points sort as their UTF-8 bytes do, so the strings serve as keys themselves.
    """
    ordered = sorted(names)
    if not all(map(str.isascii, ordered)):
        ordered.sort(key=lambda name: unicodedata.normalize("NFC", name))
    return ordered


def check_name(name: str) -> None:
    """Raises FaceError `bad-name` for a file name that is not UTF-8: names are hashed and written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise FaceError(
            "bad-name", "its name is not valid UTF-8, so no pseudonym can be made of it: rename it"
        ) from None


def utf8(text: bytes) -> bytes:
    """The bytes of a text file as UTF-8 without a byte order mark, which Windows' editors write in UTF-8 and UTF-16."""
    if text.startswith(UTF16_MARKS):
        return text.decode("utf-16", "replace").encode()
    return text.removeprefix(codecs.BOM_UTF8)


def one_line(text: str) -> str:
    """`text` with every character escaped that a terminal would not show as itself: line breaks, colour codes,
    direction marks, undecodable bytes, and the backslash of the escapes."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable() or character == _JOINER:
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that was not UTF-8, as os.fsdecode keeps it
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
