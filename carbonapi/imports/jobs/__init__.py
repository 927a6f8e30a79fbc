"""Queued imports: the queue, its worker and the progress of an import."""
