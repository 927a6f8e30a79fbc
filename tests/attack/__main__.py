"""`make attack`: run all attacks and print figures. The exit code is 1 if one succeeded."""

import argparse
import sys
import time
from functools import partial

from . import fuzzing, malformed, matrix, races, tokens
from .document import operations_of
from .service import on_new_database

PARTS = {
    "matrix": matrix.run,
    "tokens": tokens.run,
    "malformed": malformed.run,
    "races": races.run,
    "schemathesis": fuzzing.run,
}
MAX_SHOWN = 50  # Failures of one part.


def main():
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--examples", type=int, default=200, help="number of schemathesis examples for each operation")
    arguments = parser.parse_args()
    unknown = {*arguments.parts} - {*PARTS}
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}")
    runs = PARTS | {"schemathesis": partial(fuzzing.run, examples=arguments.examples)}
    failures = 0
    with on_new_database() as service:
        operations = operations_of(service)
        for name in arguments.parts or PARTS:
            began = time.monotonic()
            part = runs[name](service, operations)
            print(f"{part}, seconds {time.monotonic() - began:.0f}", flush=True)
            for failure in part.failures[:MAX_SHOWN]:
                print(f"  {failure}")
            failures += len(part.failures)
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
