"""Faces on disk, in and out: datasets as sources of faces, their names and manifests, and outputs that appear whole."""
