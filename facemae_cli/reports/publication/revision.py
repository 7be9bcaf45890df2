"""What is published beside a dataset, brought up to date: lines and figures of facemae change, the publisher's stay."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from facemae_cli.data.output.beside import CROISSANT
from facemae_cli.reports.publication.facts import Facts, Figure, Figures
from facemae_cli.reports.publication.files import published_files

# The parts that hold figures, which were measured of the dataset as it was.
_MEASURED = ("Risks, as measured", "Use, as measured", "rai:personalSensitiveInformation", "rai:dataLimitations")

_LIST = (*"-*+ \t",)  # what begins the lines of a list in a card, or goes on with one


def revised_files(texts: Mapping[str, str], before: Facts, facts: Facts, out: Path) -> tuple[dict[str, str], list[str]]:
    """The `texts` of a dataset's card and Croissant, by name, brought from what `before` says, of whatever figures, to
    what `facts` say; and the parts with lines of others, which stay. Raises ValueError for a Croissant that is not
    JSON."""
    audited = Figures([Figure("", 0.0, None)])  # so that what is said of a dataset without an audit is said again
    past = published_files(replace(before, figures=audited), out)
    now = published_files(facts, out)
    found = {
        name: (_croissant if name == CROISSANT else _card)(text, past[name], now[name]) for name, text in texts.items()
    }
    return {name: text for name, (text, _) in found.items()}, [part for _, parts in found.values() for part in parts]


def _card(text: str, past: str, now: str) -> tuple[str, list[str]]:
    befores, afters = dict(_sections(past)), dict(_sections(now))
    parts, foreign = list[str](), list[str]()
    for title, lines in _sections(text):
        before, after = befores.get(title, []), afters.get(title, [])
        measured = title in _MEASURED and title in afters
        parts += [f"## {title}"] if title else []
        if measured:  # what of it was measured stands in the list, by whichever version of facemae
            own = "\n".join(line for line in lines if line[:1] not in _LIST).strip("\n")
            lines = [*after, *([*own.split("\n"), ""] if own else [])]
        parts += lines if measured else _merged(lines, before, after)
        if any(line not in [*before, *after, ""] for line in lines):
            foreign.append(title or "its header")
    return "\n".join(parts) + "\n", foreign


def _croissant(text: str, past: str, now: str) -> tuple[str, list[str]]:
    values, before, after = json.loads(text), json.loads(past), json.loads(now)
    if not isinstance(values, dict):
        raise ValueError("not an object")
    _rename(values.get("distribution"), after["distribution"][0])
    foreign = []
    for name, value in values.items():
        if name in after and (name in _MEASURED or value in (before[name], after[name])):
            values[name] = after[name]
            continue
        foreign.append(name)
        if isinstance(value, list) and isinstance(after.get(name), list):
            values[name] = _merged(value, before[name], after[name])
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n", foreign


def _rename(distribution: Any, ours: Mapping[str, Any]) -> None:
    """Calls the file of the dataset in a `distribution` by the name that it has now: it may have been renamed since."""
    now = PurePosixPath(ours["includes"])
    for files in distribution if isinstance(distribution, list) else []:
        if isinstance(files, dict) and files.get("@id") == ours["@id"] and now.stem != "*":
            was = PurePosixPath(str(files.get("includes")))
            if was.name == str(was) and "*" not in was.stem and was.suffix == now.suffix:
                files["includes"] = str(now)


def _merged(lines: Sequence[Any], before: Sequence[Any], after: Sequence[Any]) -> list[Any]:
    """`lines` with those of `before` that changed replaced, where they stood, by those of `after`."""
    gone = [line in before and line not in after for line in lines]
    end = len(lines)
    while end and lines[end - 1] == "":
        end -= 1
    at = gone.index(True) if True in gone else end
    new = [line for line in after if line not in before and line not in lines]
    kept = [(number, line) for number, line in enumerate(lines) if not gone[number]]
    return [line for number, line in kept if number < at] + new + [line for number, line in kept if number >= at]


def _sections(card: str) -> list[tuple[str, list[str]]]:
    """A card by its sections, as their titles and the lines below; what comes before the first has no title."""
    first, *sections = re.split(r"^## ", card, flags=re.MULTILINE)
    parts = [(each.partition("\n")[0].strip(), each.splitlines()[1:]) for each in sections]
    return [("", first.splitlines()), *parts]
