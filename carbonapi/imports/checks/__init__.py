"""What is checked before an import is written."""
