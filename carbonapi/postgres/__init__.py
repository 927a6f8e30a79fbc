"""PostgreSQL as a program: the embedded server, the client tools, and backups."""
