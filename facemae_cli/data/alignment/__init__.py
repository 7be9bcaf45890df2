"""From photos to aligned crops: find faces, turn them upright, and cut them out on the ArcFace template."""
