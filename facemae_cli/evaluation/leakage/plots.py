"""The curves of an audit: risk over the number of people and over K, and the membership ROC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from facemae_cli.evaluation.leakage.prose import title
from facemae_cli.evaluation.leakage.results import PHOTOS, Finding, MembershipFinding
from facemae_cli.evaluation.roc_plot import alarm_axis, first_alarm, roc_line
from facemae_cli.reports.html import Figure
from facemae_cli.reports.plots import Axis, Line, Mark, line_plot
from facemae_cli.reports.text import exact_percent, percent

LINES = 6  # of a plot, chance included: as many as can be told apart
APART = 0.11  # of an axis: of values nearer to each other one is marked
BROAD = 8.0  # from this ratio of the ends on, numbers of people stand on a logarithmic scale

Series = dict[str, list[Finding]]


def series_of(findings: Sequence[Finding]) -> Series:
    """What is plotted of one attacker, by title: real -> real first; imitations of other photos, where known."""
    imitated = {each.model for each in findings if each.attack == "imitated_to_released" and each.photo == "other"}
    series: Series = {}
    for finding in sorted(findings, key=lambda each: each.attack != "real_to_real"):
        if finding.attack != "imitated_to_released" or finding.photo == "other" or finding.model not in imitated:
            series.setdefault(title(finding), []).append(finding)
    return dict(list(series.items())[: LINES - 1])


def over_people(series: Series, k: int) -> Series:
    """Those at K = k, by rising number of people."""
    order = attrgetter("identities", "whole")
    return _some({name: sorted((each for each in found if each.k == k), key=order) for name, found in series.items()})


def over_k(series: Series) -> Series:
    """Those of everyone, or of the largest samples where nothing was measured of everyone, by rising K."""
    order = attrgetter("whole", "identities")
    widest = max(map(order, (each for found in series.values() for each in found)), default=None)
    if widest is None:
        return {}
    chosen = {
        name: sorted(
            (each for each in found if (each.whole if widest[0] else order(each) == widest)), key=attrgetter("k")
        )
        for name, found in series.items()
    }
    return _some(chosen)


def _some(series: Series) -> Series:
    return {name: found for name, found in series.items() if found}


def people_figure(series: Series, caption: str, limits: Sequence[float]) -> Figure | None:
    """Risk over the number of people; None where there is only one."""
    return _risk_figure(series, "identities", "people who can be found", caption, limits)


def k_figure(series: Series, caption: str, limits: Sequence[float]) -> Figure | None:
    """Risk over K; None where there is only one."""
    return _risk_figure(series, "k", "K: how many nearest faces count", caption, limits)


def _risk_figure(series: Series, over: str, label: str, caption: str, limits: Sequence[float]) -> Figure | None:
    if max((len({getattr(each, over) for each in found}) for found in series.values()), default=0) < 2:
        return None
    lines = [_line(name, found, over) for name, found in series.items()]
    values = sorted({float(getattr(each, over)) for found in series.values() for each in found})
    highest = max([*limits, *(each.interval[1] for found in series.values() for each in found)])
    log = over == "identities" and values[-1] >= BROAD * values[0]
    plot = line_plot(
        [*lines, _chance(series, over)],
        Axis(label, log=log, ticks=_apart(values, log)),
        Axis("photos that find their person", (0.0, min(1.02, 1.08 * highest) or 1.0), percent=True),
        f"risk-{over}",
        [Mark(limit, f"limit {exact_percent(limit)}", across=True) for limit in limits],
    )
    ends = [f"{name}: from {percent(found[0].risk)} to {percent(found[-1].risk)}" for name, found in series.items()]
    return Figure(plot, f"{caption} The bands are 95 % intervals.", f"{caption} {'; '.join(ends)}.")


def _line(name: str, found: Sequence[Finding], over: str) -> Line:
    low, high = np.array([each.interval for each in found]).T
    risks = np.array([each.risk for each in found])
    return Line(name, np.array([float(getattr(each, over)) for each in found]), risks, low, high)


def _chance(series: Series, over: str) -> Line:
    """Chance among the released faces, for the first attack on them; for real -> real where there is none."""
    found = next((found for found in series.values() if found[0].attack != "real_to_real"), None)
    found = found or next(iter(series.values()))
    x = np.array([float(getattr(each, over)) for each in found])
    return Line("chance", x, np.array([each.chance for each in found]))


def _apart(values: Sequence[float], log: bool) -> list[float]:
    """Which of ascending values to mark: the last, and those that leave room to the next."""
    places = [math.log(value) if log else value for value in values]
    kept = [len(values) - 1]
    for at in range(len(values) - 2, -1, -1):
        if places[kept[-1]] - places[at] >= APART * (places[-1] - places[0]):
            kept.append(at)
    return [values[at] for at in reversed(kept)]


def roc_figure(found: Sequence[MembershipFinding]) -> Figure:
    """Members recognised against false alarms, on a logarithmic scale, for what one attacker can tell."""
    first = min(first_alarm(each.membership.non_members) for each in found)
    lines = [roc_line(PHOTOS[each.photo], each.membership.curve, each.membership.members, first) for each in found]
    guess = np.geomspace(first, 1.0, 200)
    plot = line_plot(
        [*lines, Line("guessing", guess, guess)],
        alarm_axis("FPR: people not in it, taken for people in it", first),
        Axis("TPR: people in it, recognised", (0.0, 1.02), percent=True),
        "roc",
    )
    areas = ". ".join(_in_short(each) for each in found)
    caption = "ROC of telling who is in the release, on a logarithmic scale of false alarms."
    return Figure(
        plot, f"{caption} {areas}. The bands are Wilson's 95 % intervals at each point.", f"{caption} {areas}."
    )


def _in_short(found: MembershipFinding) -> str:
    reached = {fpr: tpr for fpr, tpr in found.membership.tpr_at_fpr.items() if tpr is not None}
    rates = [f"TPR {percent(tpr)} at FPR {exact_percent(fpr)}" for fpr, tpr in reached.items()]
    return ", ".join([f"By {PHOTOS[found.photo]}, {found.attacker}: AUC {found.membership.auc:.3f}", *rates])
