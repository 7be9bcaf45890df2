"""An audit made by hand, with something of everything, for the tests of its page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facemae_cli.data.faces import Refusal
from facemae_cli.data.images.codec import encode_png
from facemae_cli.evaluation.leakage.duplicates import Copy, Duplicates
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.matching import Names
from facemae_cli.evaluation.leakage.membership import membership
from facemae_cli.evaluation.leakage.results import Attacker, Exposed, Finding, MembershipFinding
from facemae_cli.evaluation.leakage.risk import Risk
from facemae_cli.evaluation.leakage.statistics import Paired
from facemae_cli.evaluation.leakage.verdict import Gate, Verdict

EVIL = "<script>alert(1)</script>"
SECRET = "Aung_San_Suu_Kyi"  # stands for a raw name: it must not get in
FACE = encode_png(np.full((16, 16, 3), 90, np.uint8))
RATES = {
    ("real_to_real", "other", None): 0.877,
    ("real_to_released", "other", None): 0.074,
    ("real_to_released", "same", None): 0.205,
    ("imitated_to_released", "other", "facemae-v1"): 0.12,
    ("imitated_to_released", "same", "facemae-v1"): 0.31,
}


def rate(value: float, k: int, people: int) -> Risk:
    low, high = 0.9 * value, min(1.1 * value, 1.0)
    return Risk(k, value, (low, high), k / people, 5 * people, 0, people, value * people, 2.0 * people)


def findings(
    attacker: str, weaker: float = 1.0, ks: tuple[int, ...] = (1, 2), sizes: Any = (100, 1000)
) -> list[Finding]:
    found = []
    for (attack, photo, model), value in RATES.items():
        for size, draws in [*((size, 5) for size in sizes), (3059, 1)]:
            for k in ks:
                at = min(weaker * value * (1 + 0.2 * (k - 1)) * (1 + 10 / size), 1.0)
                of_real = attack != "real_to_real" and draws == 1
                against = Paired(-0.7, (-0.8, -0.6), value / 0.877, (0.05, 0.11), 3059, 7, 2000) if of_real else None
                trials = (rate(at, k, size),) * draws
                found.append(Finding(attack, photo, attacker, k, size, draws == 1, trials, model, against))  # type: ignore[arg-type]
    return found


def told(attacker: str, photo: Any = "other", people: int = 1500) -> MembershipFinding:
    random = np.random.default_rng(0)
    scores = random.normal(0.35, 0.1, people), random.normal(0.3, 0.1, people)
    return MembershipFinding(attacker, photo, False, membership(*scores, seed=7, resamples=50))


def attacker(name: str, **others: Any) -> Attacker:
    return Attacker(name, "ab" * 32, "given", "on cpu in fp32 by onnxruntime", (), 0.877, **others)


def audited(**others: Any) -> LeakageResult:
    """An audit with something of everything, by one attacker."""
    gate = Gate("--max-leakage", 0.5, "passed", "the risk is at most 0.132, by mobilefacenet", 0.12, 0.132)
    people = [
        Exposed(f"id{at}{EVIL}", f"photo{at}.jpg", 0.9 - at / 100, at % 2 == 0, 5, 4.5, "mobilefacenet", at, at)
        for at in range(3)
    ]
    result = LeakageResult(
        Path(SECRET, "raw"),
        Path(SECRET, "released"),
        names=Names("key", 3059, 2, 1, 0, 15295, 15290, 0, False),
        duplicates=Duplicates(1, 1, 2, 3, False, [Copy(f"id7{EVIL}", "a.jpg", "bytes"), Copy("id8", "b.jpg", "near")]),
        attackers=[attacker("mobilefacenet")],
        findings=findings("mobilefacenet"),
        memberships=[told("mobilefacenet"), told("mobilefacenet", "same")],
        exposed=people,
        verdict=Verdict("passed", (gate.reason,), (gate,)),
        unmeasured=["imitated_to_released, other photos, r18, 100 people: there are 0 photos to ask with"],
        notices=["whether mobilefacenet is independent of the release cannot be told: it has no facemae.json"],
        digests={"original": "11" * 32, "released": "22" * 32, "model of the release": "33" * 32},
        settings={"K": "1, 2", "people": "100, 1000, all", "masks of imitations": "random, ratio 0.75"},
        seed=7,
        refused=[Refusal(f"raw/{SECRET}/1.jpg", "truncated", f"{SECRET} ends early")],
    )
    return replace(result, **others)
