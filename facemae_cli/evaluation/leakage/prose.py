"""What an audit found in plain words, as its page says it: figures, sentences, how it was measured, and its limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.results import PHOTOS, Attacker, Finding, MembershipFinding, strongest
from facemae_cli.evaluation.leakage.summary import auc_in_words, count
from facemae_cli.evaluation.leakage.verdict import RECOGNISED, Gate, Verdict
from facemae_cli.reports.text import exact_percent, percent, percent_interval

METHOD = (
    "A face and its mirror image are embedded by the attacker's network; the sum of both, scaled to length 1, is the "
    "face's feature, and the inner product of two features is their similarity. A photo asks for the K faces that are "
    "most similar to it. It finds its person if one of these is the person's. The search is exact, since an "
    "approximate one would make the risk look smaller.",
    "Three attackers have learnt nothing: they compare thumbnails of 14 × 14 means, by distance, by correlation, and "
    "whitened by the release's own spread. The ensemble adds up all attackers' similarities, each in standard "
    "deviations over the faces that are searched; the three together count as one. A sample of photos is also tried "
    "turned, mirrored, inverted, blurred and with colours swapped; where that finds people who are not found by photos "
    "as they are, all photos ask in these ways too, each in the way that is most like a released face. Such an "
    "attacker's name ends in +transforms.",
    "The risk is the share of the asking photos that find their person: a mean over photos, not over people (Eq. 3 of "
    "arXiv 2205.11090). Photos whose person has no face to be found do not count. A person is found where at least one "
    "of the person's photos finds the person.",
    "Real → released: real photos ask among the released faces. With “other photos” the face that was made of the "
    "asking photo is left out, as if the attacker had only other photos of the person; with “the very photo” it is "
    "there. Real → real: the same photos ask among the real ones, themselves left out; it is how "
    "strong the attacker is where nothing is hidden. Imitated → released: the attacker masks photos of their own, "
    "reconstructs them as the release was made, and asks with the outcome; over several masks a photo the features are "
    "added up.",
    "Chance is what K faces picked at random would reach, computed exactly, for the same photos. Above chance is "
    "(risk − chance) / (1 − chance): 0 % is guessing, 100 % is certainty. Of real → real is the ratio of the two "
    "risks, over the people that both measured.",
    "Similarities within 0.000001 are tied. Where a tie reaches over the K-th place, a photo counts as likely as a "
    "random order of the tie finds the person; so faces that all look alike give chance, not certainty.",
    "Photos of one person are not independent. The interval of a risk is Wilson's 95 % interval for as many "
    "independent photos as tell as much; where fewer than 20 people are found, or fewer than 20 stay hidden, for at "
    "most as many as there are people, and no shorter than Clopper and Pearson's. Intervals of ratios, and of AUC, are "
    "of a bootstrap over people. Among fewer people than all, each figure, and each end of an interval, is the mean "
    "over random samples of people.",
    "In the release or not: a person's score is the highest similarity of any of the person's photos to any released "
    "face, and whoever is over a threshold is said to be in it. AUC is how often a person who is in it scores higher "
    "than one who is not, 0.5 being a guess. TPR at an FPR is the share of the people in it who are recognised where "
    "at most that share of the others is taken for people in it.",
    "Who is who is told by the names of people and photos, or by the pseudonyms that the release's key makes of them, "
    "never by position.",
)
LIMITS = (
    "The figures hold for these attackers. A stronger network, more photos of a person, or what is known from "
    "elsewhere may find more; no measurement shows that nobody can be found.",
    "The intervals are for other people like these, asking among this release. Among fewer people a person is easier "
    "to find than among many, so the figures do not carry over to a part of the release, or to another one.",
    "A risk is a mean. The people who are listed as most exposed are in more danger than it says.",
    "Only faces were attacked. Names, files' dates, captions, and whatever else goes with a release were not.",
    "Copies are found among all faces where they are equal in their bytes, or look alike from afar: as they are, "
    "turned, mirrored, inverted, blurred, with red and blue swapped, brighter, darker, tinted or grey. Zoomed ones "
    "are not.",
    "Which risk is acceptable is not for a measurement to say, and nothing here is a legal opinion.",
)


def title(finding: Finding) -> str:
    """What a measurement is called: real → released, other photos."""
    if finding.attack == "real_to_real":
        return "real → real"
    asks = "real" if finding.attack == "real_to_released" else f"imitated by {finding.model}"
    return f"{asks} → released, {PHOTOS[finding.photo]}"


def among(finding: Finding) -> str:
    """Among whom it was measured: 40, or 10 in 5 samples."""
    samples = len(finding.trials)
    if finding.whole:
        return str(finding.identities)
    return f"{finding.identities} in {samples} sample{'s' if samples > 1 else ''}"


def measured(finding: Finding) -> str:
    """A risk with its interval and chance."""
    aside = f"95 % interval {percent_interval(finding.interval)}; chance {percent(finding.chance)}"
    return f"{percent(finding.risk)} of photos ({aside})"


def strength_of(result: LeakageResult, finding: Finding) -> Finding | None:
    """The same attacker's real_to_real at the same K, among everyone or as many people."""

    def where(each: Finding) -> tuple[str, int, int | None]:
        return each.attacker, each.k, None if each.whole else each.identities

    real = (each for each in result.findings if each.attack == "real_to_real")
    return next((each for each in real if where(each) == where(finding)), None)


WHAT = {
    "--max-leakage": "found by other photos",
    "--max-leakage-same": "found by the very photo",
    "--max-tpr": RECOGNISED,
}


def verdict_in_words(verdict: Verdict) -> str:
    """The verdict in a sentence: 37.5 % found by other photos, limit 30 %: failed."""
    if verdict.status == "none":
        return "No verdict: no limit was set"
    gates = [gate for gate in verdict.gates if gate.status == verdict.status and gate.value is not None]
    if verdict.status == "passed":
        gates = [gate for gate in gates if gate.option in WHAT] or gates
    return "; ".join(map(_judged, gates)) or f"No verdict can be given: {verdict.status}"


def _judged(gate: Gate) -> str:
    if gate.option not in WHAT:
        return gate.reason
    return f"{percent(gate.value)} {WHAT[gate.option]}, limit {exact_percent(gate.limit)}: {gate.status}"


def lead(result: LeakageResult) -> list[str]:
    """The figures that matter most, in a few sentences."""
    top, same = (strongest(result.findings, "real_to_released", photo) for photo in PHOTOS)
    if top is None:
        return ["How many people can be found by other photos of theirs could not be measured."]
    nearest = "the most similar released face" if top.k == 1 else f"one of the {top.k} most similar released faces"
    said = [
        "Somebody who holds a photo of a person in this release, but not one that was released, compares it with all "
        f"released faces: for {percent(top.risk)} of such photos {nearest} is the person's."
    ]
    if same is not None:
        said[0] += f" The very photo that a released face was made of finds the person in {percent(same.risk)}."
    said[0] += f" Guessing would find {percent(top.chance)}."
    real = strength_of(result, top)
    if real is not None:
        words = f"Among the real photos, where nothing is hidden, {top.attacker} finds people with {measured(real)}"
        if top.compared is not None and top.compared.ratio is not None:
            ratio, interval = top.compared.ratio, top.compared.ratio_interval
            words += f". By other photos the release gives away {percent(ratio)} of that"
            words += f" (95 % interval {percent_interval(interval)})"
        said.append(words + ".")
    return [*said, *_stronger(result, top)]


def _stronger(result: LeakageResult, top: Finding) -> Iterator[str]:
    """What finds more than real photos do."""
    imitated = strongest(result.findings, "imitated_to_released", "other")
    if imitated is not None and _among_the_same(imitated, top) and imitated.risk > top.risk:
        yield f"More is found by an attacker who first imitates the release with {imitated.model}: {_found(imitated)}."
    knowing = [each for each in result.further.known_members if each.photo == "other"]
    most = max(knowing, key=lambda each: each.risk, default=None)
    if most is not None and most.risk > top.risk:
        yield (
            f"More is found by an attacker who knows {most.known} of the people: {percent(most.risk)} of the others' "
            f"photos (95 % interval {percent_interval(most.interval)})."
        )


def _among_the_same(one: Finding, other: Finding) -> bool:
    return (one.whole, one.identities, one.k) == (other.whole, other.identities, other.k)


def outcomes(result: LeakageResult) -> list[tuple[str, str | Sequence[str]]]:
    """What else was found, by name."""
    rows: list[tuple[str, str | Sequence[str]]] = []
    imitated = [strongest(result.findings, "imitated_to_released", photo) for photo in PHOTOS]
    lines = [f"{PHOTOS[each.photo]}, with {each.model}: {_found(each)}" for each in imitated if each is not None]
    if lines:
        rows.append(("by imitating the release", lines))
    told = result.best_memberships
    if told:
        rows.append(("in the release or not", [in_or_not(each) for each in told]))
    if result.duplicates is not None:
        said = result.duplicates.lines() or ["no released face is a real one, and no original is there twice"]
        rows.append(("copies", said))
    if result.names is not None:
        rows.append(("people", "; ".join(result.names.lines())))
    return rows


def _found(finding: Finding) -> str:
    found = f"at least one photo finds {count(finding.leaking)} of {finding.people} people"
    return f"{measured(finding)}; {found}, by {finding.attacker}"


def in_or_not(found: MembershipFinding) -> str:
    """How well people in the release are told from people who are not."""
    how = found.membership
    auc = auc_in_words(how, "95 % interval ", "; guessing gives 0.5")
    words = [f"{PHOTOS[found.photo]}: {auc}"]
    for fpr, tpr in how.tpr_at_fpr.items():
        if tpr is not None:
            reached = f"{percent(tpr)} of those in it ({percent_interval(how.tpr_intervals[fpr])})"
            words.append(f"{reached} recognised where {exact_percent(fpr)} of the others are taken for them")
    return "; ".join([*words, f"{how.members} people in it, {how.non_members} not, by {found.attacker}"])


def missing(result: LeakageResult) -> list[str]:
    """What was not measured and why, a line each."""
    lines = list(result.unmeasured)
    noted: dict[str, list[str]] = {}
    for found in result.memberships:
        for note in found.membership.notes:
            noted.setdefault(note, []).append(f"{found.attacker} with {PHOTOS[found.photo]}")
    every = len(result.memberships)
    lines += [note if len(who) == every else f"{note} ({', '.join(who)})" for note, who in noted.items()]
    attacks = {each.attack for each in result.findings}
    told_of = " ".join(lines)
    if not result.memberships and "membership" not in told_of:
        lines.append("whether a person is in the release at all")
    if "imitated_to_released" not in attacks and "imitations of the release" not in told_of:
        lines.append("imitations of the release: none were asked for")
    return lines


def noted(result: LeakageResult) -> list[str]:
    """What a reader should mind, a line each; faces that were left out as counts, since their places may tell names."""
    reasons = Counter(item.reason for item in result.refused)
    if not reasons:
        return result.notices
    said = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    faces = "1 face was" if reasons.total() == 1 else f"{reasons.total()} faces were"
    return [*result.notices, f"{faces} refused and left out: {said}"]


def attacker(each: Attacker) -> list[str]:
    """All that is known of an attacker, a line each."""
    known = f"weights of sha256 {each.sha256}, card {each.card}, " if each.sha256 else ""
    lines = [
        f"{known}{each.computed}; real → real {percent(each.strength) if each.strength is not None else 'not measured'}"
    ]
    if each.shared is None:
        lines.append("ancestors shared with the release's model are not known")
    elif each.shared:
        lines.append(f"ancestors shared with the release's model: {', '.join(each.shared)}")
    if each.adapted is not None:
        learnt = each.adapted
        words = f"adapted to {learnt.faces} faces of the attacker's own, reconstructed by {learnt.model}, by the map"
        lines.append(
            f"{words} “{learnt.method}”, which finds {percent(learnt.held_out)} of those left out of the learning"
        )
    why = "; ".join(f"it {reason}" for reason in each.barred).replace("->", "→")
    return [*lines, f"no verdict rests on it alone: {why}"] if why else lines
