"""The number of random examples: few in `make test`, many in `make thorough`."""

import os

THOROUGH = os.environ.get("CARBONAPI_TEST_THOROUGH") == "1"


def examples(few, many):
    """Return `many` in a thorough run, else `few`."""
    return many if THOROUGH else few
