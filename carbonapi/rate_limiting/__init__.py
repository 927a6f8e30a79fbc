"""Rate limits, counted across all workers before a request is executed."""
