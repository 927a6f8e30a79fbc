"""Files of usages, and their verification."""
