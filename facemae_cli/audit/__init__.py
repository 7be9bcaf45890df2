"""An audit of a release: who attacks, what they find, how sure that is, and the verdict (design section 5)."""
