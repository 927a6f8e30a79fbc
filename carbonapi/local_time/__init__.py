"""Local time in PostgreSQL: the days and hours of a time zone, and the parts of an interval.

Migrations define the SQL functions; this package gives them names and types for SQLAlchemy.
"""
