"""The message in an ONNX file, as the package onnx has it. Loads no torch, so that a model is refused at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facemae_cli.data.content import describe_content
from facemae_cli.errors import InputError

MAX_BYTES = 2**31  # the limit of the format itself: a protocol buffer message


def parse_onnx(path: Path) -> Any:
    """The ModelProto in a file; weights that it keeps in other files are not followed. Raises InputError."""
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError as error:
        raise InputError(f"{path}: reading ONNX files needs the package onnx; `pip install onnx`") from error
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: over {MAX_BYTES} bytes, which no ONNX file can have")
        return onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (DecodeError, ValueError) as error:
        raise InputError(f"{path}: not an ONNX file{describe_content(path)}") from error
