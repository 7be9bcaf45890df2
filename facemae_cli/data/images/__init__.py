"""One image: the codec that decodes and encodes it, and in `headers` what is read with bounds before that."""
