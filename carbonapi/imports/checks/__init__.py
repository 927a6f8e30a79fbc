"""Checks of the staged rows: each rejects rows or sets their outcome, for all rows at once."""
