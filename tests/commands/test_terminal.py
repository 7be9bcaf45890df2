"""Lines on a stream, whatever its encoding."""

import io

from facemae_cli.commands.terminal import write_line


def test_a_stream_that_cannot_hold_a_letter_gets_an_escape() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1")
    write_line("café 😀", stream)
    assert raw.getvalue() == "café \\U0001f600\n".encode("latin-1")
