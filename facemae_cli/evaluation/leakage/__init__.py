"""The audit: whose photos still find their person in a release, by which attack, and what the verdict is."""
