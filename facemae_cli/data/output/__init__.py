"""Outputs that appear whole or not at all: staged aside, journalled, resumed, as a folder or a `.rec`."""
