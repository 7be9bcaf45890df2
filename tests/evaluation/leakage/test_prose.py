"""What an audit's page says of a measurement."""

from __future__ import annotations

from helpers.audits import rate

from facemae_cli.evaluation.leakage.prose import among, measured, title


def test_a_measurement_has_a_title_its_people_and_its_figures() -> None:
    found = rate(0.2, 0.1, 0.3, attack="imitated_to_released", model="mae", identities=10, whole=False)
    assert title(found) == "imitated by mae → released, other photos"
    assert (among(found), among(rate(0.2, 0.1, 0.3))) == ("10 in 1 sample", "100")
    assert measured(found) == "20.0 % of photos (95 % interval 10.0 to 30.0 %; chance 1.0 %)"
