"""How fast carbonapi is, beside a peer, beside the bare database, and beside what it ought to reach."""
