"""How good a recogniser is, and how much a release gives away: metrics, retrieval, `verification` and `leakage`."""
