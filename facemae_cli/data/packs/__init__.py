"""Verification packs, pairs of faces: `.bin` and `pairs.txt`, read without running anything, and written."""
