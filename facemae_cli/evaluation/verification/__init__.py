"""Packs of pairs verified: results with their doubts and gates, and the page that shows them."""
