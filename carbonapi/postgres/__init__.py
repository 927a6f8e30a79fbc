"""PostgreSQL as a program: the embedded server, client tools and backups."""
