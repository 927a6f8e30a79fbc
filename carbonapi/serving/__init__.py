"""Serving: the supervisor of `carbonapi serve`, its web server, and how a worker accepts connections and requests."""
