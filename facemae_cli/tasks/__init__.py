"""The public API: a library function a command, of the same name, options and defaults; it returns a result."""
