"""Models: cards, the zoo that finds them, loading their weights, and how each network is built and exported."""
