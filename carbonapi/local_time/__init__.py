"""Local time: the days and hours of a time zone, and the parts of an interval."""
