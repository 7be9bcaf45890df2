"""How faces come in and go out. Nothing here imports torch."""
