"""Files of usages for imports."""

import itertools

_NUMBERS = itertools.count()


def new_file(lines: int) -> bytes:
    """Return a CSV file of usages of 0.1 each. No other file has them."""
    number = next(_NUMBERS)
    rows = (f"2024-01-01T00:00:00Z,0.1,{number}-{line}\n" for line in range(lines))
    return "".join(["usage_at,amount,external_id\n", *rows]).encode()
