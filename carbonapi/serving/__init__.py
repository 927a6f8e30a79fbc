"""Serving: the supervisor, its workers, and what they do with connections."""
