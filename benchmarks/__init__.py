"""The speed of carbonapi, compared with a peer, with PostgreSQL alone, and with targets."""
