"""What takes minutes: the service as it is shipped, killed at random (`crash`), and under load for long (`soak`)."""
