"""What an audit may be asked for: numbers and shares, read and checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from facemae_cli.errors import UsageError
from facemae_cli.runtime.choices import check_batch_size

ALL = None  # in a list of numbers of people
MAX_K = 1000
FEWEST_KNOWN = 5  # known people: a fold needs one; and people left to attack
NOBODY = (
    "nobody is on both sides by name, so there is nobody to choose: leave it out, or see that names join (--key FILE "
    "recomputes pseudonyms)"
)
_SHARES = ("max_leakage", "max_leakage_same", "max_tpr", "min_attacker")
_FROM = {"trials": 1, "workers": 1, "imitations": 0, "seed": 0, "max_copies": 0}  # whole numbers, and their least


def check_options(options: Mapping[str, Any]) -> None:
    """Raises UsageError for a value among an audit's `options`, by parameter name, that no data could make right."""
    for name in _SHARES:
        _check_share(_flag(name), options.get(name))
    for name, least in _FROM.items():
        number = options.get(name)
        if number is not None and (not isinstance(number, Integral) or isinstance(number, bool)):
            raise UsageError(f"{_flag(name)} {number!r} is not a whole number")
        if number is not None and number < least:
            raise UsageError(f"{_flag(name)} {number}: must be at least {least}")
    if options["photo"] not in ("other", "same"):
        raise UsageError(f"--photo {options['photo']!r} is not known; use other or same")
    if options["photo"] == "same" and options.get("max_tpr") is None:
        raise UsageError("--photo says by which photos --max-tpr judges: give that limit too, or leave --photo out")
    if options["show_faces"] and options["report"] is None:
        raise UsageError("--show-faces is about the page that --report FILE writes: give that too")
    check_batch_size(options["batch_size"])
    parse_ks(listed(options["k"]))
    parse_identities(listed(options["identities"]))
    if options["known_members"] is not None:
        parse_known_members(listed(options["known_members"]))


def listed(numbers: int | str | Sequence[int | str]) -> str:
    """Numbers as the command line lists them: 2 and [1, 2] as "2" and "1,2"."""
    return ",".join(map(str, numbers)) if isinstance(numbers, list | tuple) else str(numbers)


def parse_ks(text: str) -> tuple[int, ...]:
    """`2` or `1,2,3,4`, ascending. Raises UsageError."""
    return tuple(sorted(set(_numbers(text.split(","), "--k", MAX_K))))


def parse_identities(text: str, people: int | None = None) -> tuple[int | None, ...]:
    """`all` or `100,300,all`, ascending, of `people` that there are (None: not known yet). Raises UsageError for more
    than these."""
    said = [part.strip() for part in text.split(",")]
    asked = [part for part in said if part != "all"]
    counts = _numbers(asked, "--identities", people or None)
    if counts and people == 0:
        raise UsageError(f"--identities {asked[0]}: {NOBODY}")
    return (*sorted(set(counts)), *([ALL] if "all" in said else []))


def parse_known_members(text: str, people: int | None = None) -> tuple[int, ...]:
    """`10,50,200`, ascending, of `people` that there are (None: not known yet). Raises UsageError for what is not a
    number, and where too few of these are left."""
    flag, least = "--known-members", FEWEST_KNOWN
    if people == 0:
        raise UsageError(f"{flag} {text}: {NOBODY}")
    if people is not None and people < 2 * least:
        raise UsageError(
            f"{flag} {text}: {people} people on both sides are too few: it takes {2 * least}, {least} whom the "
            f"attacker knows and {least} to attack; leave the option out"
        )
    for part in (part.strip() for part in text.split(",")):
        if not part.isdecimal() or int(part) < least or (people is not None and int(part) > people - least):
            most = "on" if people is None else f"to {people - least}"
            there = f": of {people} people on both sides, {least} or more must be left to attack" if people else ""
            raise UsageError(f"{flag} {part!r}: give numbers from {least} {most}, as 10,50,200{there}")
    return tuple(sorted({int(part) for part in text.split(",")}))


def _numbers(parts: Sequence[str], option: str, most: int | None) -> list[int]:
    for part in (part.strip() for part in parts):
        if not part.isdecimal() or int(part) < 1 or (most is not None and int(part) > most):
            bounds = "from 1 on" if most is None else f"from 1 to {most}"
            raise UsageError(f"{option} {part!r}: give a number {bounds}, or several as 1,2,3")
    return [int(part) for part in parts]


def _check_share(flag: str, share: float | None) -> None:
    if isinstance(share, bool) or (share is not None and not isinstance(share, Real)):
        raise UsageError(f"{flag} {share!r} is not a number")
    if share is not None and 1 < share <= 100:
        raise UsageError(f"{flag} {share:g} is over 1: it is a share, so write {share / 100:g} for {share:g} %")
    if share is not None and not 0 <= share <= 1:
        raise UsageError(f"{flag} {share:g} is not a share: give a number from 0 to 1")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
