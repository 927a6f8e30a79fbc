"""The kinds of files that an import reads."""
