"""Runs of minutes: the service killed at random (`crash`), and under load (`soak`)."""
