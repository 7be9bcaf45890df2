"""One thin file a command: options, one task, show the result."""
