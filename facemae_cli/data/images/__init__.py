"""One image: its header read with bounds before anything is decoded, a reader a format, and the codec."""
