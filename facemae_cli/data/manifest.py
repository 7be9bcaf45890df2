"""`facemae.json`: what every output says about how it was made, and nothing about whom it shows."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

from facemae_cli import __version__
from facemae_cli.data.files import write_whole
from facemae_cli.data.names import one_line, utf8
from facemae_cli.data.open import ARCHIVES, parquet_files
from facemae_cli.data.reading import unreadable
from facemae_cli.errors import InputError

SCHEMA = 1
TOOL = "facemae"
MAX_BYTES = 2**20
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:-]{0,79}")
_MAX_DEPTH = 8


@dataclass(frozen=True)
class Manifest:
    """What `facemae.json` holds. Equal runs give equal bytes: no name, key, path, timestamp or random id is in it.

    `model`: {"kind", "sha256", ...} of the model used, or None. `grid`: patches along a side. `mask_ratio`: share of
    patches hidden in [0, 1], as measured. `counts`: {"in", "out", "refused": {reason code: count}}. `key_id`: hex, of
    the key that was used. `strategy`: how patches were chosen. `names`: "kept", "keyed" or "copied" (from an input
    that has its names already). `seed`: whether masks came from a seed. `extra`: what a command adds. Strings, also
    those in `model` and `extra`, are codes (letters, digits and `._+:-`, at most 80): no path or sentence fits in.
    Raises ValueError where a field is of another type or no code.
    """

    command: str
    model: Mapping[str, Any] | None = None
    grid: int | None = None
    mask_ratio: float | None = None
    counts: Mapping[str, Any] = field(default_factory=lambda: {"in": 0, "out": 0, "refused": {}})
    key_id: str | None = None
    strategy: str | None = None
    names: str | None = None
    seed: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__
    schema: int = SCHEMA
    tool: str = TOOL

    def __post_init__(self) -> None:
        for name, (test, wanted) in _FIELDS.items():
            value = getattr(self, name)
            if not test(value):
                raise ValueError(f"{name} is {str(value)[:80]!r}, which is not {wanted}")

    @property
    def mixed_people(self) -> int:
        """Of how many people each face shows patches (`mask --protect`); 0 where it is of one."""
        mixing = self.extra.get("mixing")
        people = mixing.get("people") if isinstance(mixing, Mapping) else 0
        return people if type(people) is int else 0

    def as_json(self) -> str:
        """The text of `facemae.json`: sorted keys, indented by 1, a newline at the end, ASCII."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, allow_nan=False) + "\n"


def code_of(text: str) -> str:
    """A text as a code: what no code holds becomes a dash, and what is too long is cut; empty where nothing is left."""
    return re.sub(r"[^A-Za-z0-9._+:]+", "-", text).strip("-._+:")[:80].rstrip("-")


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and _CODE.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a JSON value holds codes, finite numbers, booleans and nulls only."""
    if isinstance(value, Mapping):
        return depth < _MAX_DEPTH and all(_is_code(key) and _is_plain(value[key], depth + 1) for key in value)
    if isinstance(value, list | tuple):
        return depth < _MAX_DEPTH and all(_is_plain(item, depth + 1) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int) or _is_code(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping) and _is_plain(value)


def _are_counts(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) != {"in", "out", "refused"}:
        return False
    refused = value["refused"]
    if not isinstance(refused, Mapping) or not _is_count(value["in"]) or not _is_count(value["out"]):
        return False
    return all(_is_code(reason) and _is_count(count) for reason, count in refused.items())


def _is_ratio(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= 1)


_FIELDS = {
    "command": (_is_code, "a command's name"),
    "model": (lambda value: value is None or _is_object(value), "an object of codes and numbers, or null"),
    "grid": (lambda value: value is None or _is_count(value), "a number of patches, or null"),
    "mask_ratio": (_is_ratio, "a number from 0 to 1, or null"),
    "counts": (_are_counts, 'counts "in", "out" and "refused" by reason code'),
    "key_id": (lambda value: value is None or _is_code(value), "a key's id, or null"),
    "strategy": (lambda value: value is None or _is_code(value), "a strategy's name, or null"),
    "names": (lambda value: value in (None, "kept", "keyed", "copied"), 'null, "kept", "keyed" or "copied"'),
    "seed": (lambda value: isinstance(value, bool), "true or false"),
    "extra": (_is_object, "an object of codes and numbers"),
    "version": (_is_code, "a version"),
    "schema": (lambda value: type(value) is int and value == SCHEMA, f"{SCHEMA}"),
    "tool": (lambda value: value == TOOL, f'"{TOOL}"'),
}


def manifest_path(dataset: Path) -> Path:
    """Where the `facemae.json` of a dataset stands, or would: `X.facemae.json` beside `X.rec` or `X.parquet`,
    `X.bin.facemae.json` beside a verification pack `X.bin`, else in its folder."""
    if dataset.suffix.lower() == ".bin" and not dataset.is_dir():
        return dataset.with_name(dataset.name + ".facemae.json")
    if dataset.suffix.lower() == ".parquet" and not dataset.is_dir():
        return dataset.with_suffix(".facemae.json")
    if dataset.suffix.lower() == ".rec" and not dataset.is_dir() and dataset.name != "train.rec":
        return dataset.with_suffix(".facemae.json")
    return (dataset.parent if dataset.name == "train.rec" and not dataset.is_dir() else dataset) / "facemae.json"


def read_manifest(dataset: Path) -> Manifest | None:
    """What a dataset says of itself, or None where it has no manifest.

    An archive has its manifest in it, a folder of Parquet shards in the folder or beside the shards. Keys that this
    version does not know are passed over, since a newer one may add some; everything else is held to the types of
    `Manifest`. Raises InputError where a manifest is broken, of another tool, or of a newer schema, where a dataset has
    several that differ, and where a folder holds nothing but the folder of a dataset, as unpacked archives do.
    """
    found = {where: _parse(where, text) for where, text in _texts(dataset).items()}
    (first, manifest), *others = found.items() or [("", None)]
    for where, other in others:
        if other != manifest:
            raise InputError(
                f"{one_line(str(dataset))} holds datasets of several kinds ({where} differs from {first}): give each"
                " by itself"
            )
    return manifest


def _texts(dataset: Path) -> dict[str, bytes]:
    """The manifests that a dataset has, by where they stand."""
    if dataset.suffix.lower() in ARCHIVES and dataset.is_file():
        from facemae_cli.data.archive import files_called  # here, since every command's --help would pay for it

        members = files_called(dataset, "facemae.json", MAX_BYTES + 1)
        return {one_line(f"{dataset}:{name}"): text for name, text in members.items()}
    places = [manifest_path(dataset)]
    if dataset.is_dir() and not (dataset / "train.rec").is_file():
        try:
            shards = parquet_files(dataset)
        except OSError as error:
            raise unreadable(dataset, error, "make it readable") from error
        places += [shard.parent / "facemae.json" for shard in shards[:1] if shard.parent != dataset]
        places += map(manifest_path, shards)
    texts = {one_line(str(place)): _read(place) for place in places}
    found = {where: text for where, text in texts.items() if text is not None}
    if not found and (inner := _only_folder(dataset)) and (inner / "facemae.json").is_file():
        raise InputError(f"{one_line(str(dataset))} is a folder around the dataset {inner.name}: give {inner}")
    return found


def _only_folder(dataset: Path) -> Path | None:
    """The folder that is all there is in `dataset`, hidden files aside; None otherwise."""
    try:
        with os.scandir(dataset) as entries:
            seen = list(islice((entry for entry in entries if not entry.name.startswith(".")), 2))
    except OSError:  # no folder, or one that must not be listed: whoever reads it says so
        return None
    return Path(seen[0]) if len(seen) == 1 and seen[0].is_dir() else None


def _read(path: Path) -> bytes | None:
    """The start of the manifest at `path`, None where there is none. Raises InputError for what is not a file."""
    if path.name == "facemae.json" and not path.is_file():
        beside = path.with_name("train.facemae.json")
        path = beside if beside.is_file() else path
    try:
        # Non-blocking, so that a named pipe cannot hang the program.
        if path.name == "facemae.json" and path.is_dir():  # a person may be called so
            return None
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path}: a pipe or a device, so not ours; remove it to read the dataset without it")
            return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(path, error, "make it readable") from error


def own_manifest(dataset: Path, command: Collection[str] = ()) -> Manifest | None:
    """The manifest of a dataset that facemae made, by one of `command` where any is said; None of every other.

    It never raises for what the manifest holds: what is not ours is not replaced, and that is all there is to know.
    """
    try:
        path = manifest_path(dataset)
        text = None if path.is_symlink() else _read(path)
        found = None if text is None else _parse(str(path), text)
    except InputError:
        return None
    return found if found is not None and (not command or found.command in command) else None


def _parse(path: str, text: bytes) -> Manifest:
    if len(text) > MAX_BYTES:
        raise InputError(f"{path}: over {MAX_BYTES} bytes, so not ours; remove it to read the dataset without it")
    try:
        found = json.loads(utf8(text).decode("utf-8"))
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not valid JSON; remove it to read the dataset without it") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a JSON object; remove it to read the dataset without it")
    schema = found.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise InputError(f"{path}: schema {schema}, and this version reads up to {SCHEMA}; install a newer facemae")
    required = {"schema", "tool", "version", "command", "counts"}
    if missing := sorted(required - set(found)):
        raise InputError(f"{path}: {missing[0]!r} is missing; remove it to read the dataset without it")
    try:
        return Manifest(**{item.name: found[item.name] for item in fields(Manifest) if item.name in found})
    except ValueError as error:
        raise InputError(f"{path}: {error}; remove it to read the dataset without it") from None


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Writes `facemae.json` at `path`. Raises OutputError."""
    write_whole(path, manifest.as_json(), 0o666)
