"""One library function a command, each returning a result dataclass."""
