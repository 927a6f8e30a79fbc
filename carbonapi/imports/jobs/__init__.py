"""Queued imports."""
