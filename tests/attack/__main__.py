"""`make attack`: all of it, with figures; the exit code is 1 if anything did not hold."""

import argparse
import sys
import time
from functools import partial

from . import fuzzing, malformed, matrix, races, tokens
from .document import operations_of
from .service import on_a_database_of_its_own

PARTS = {
    "matrix": matrix.run,
    "tokens": tokens.run,
    "malformed": malformed.run,
    "races": races.run,
    "schemathesis": fuzzing.run,
}
SHOWN = 50  # Failures of one part.


def main():
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all of them if none is named")
    parser.add_argument("--examples", type=int, default=200, help="how many schemathesis makes up for each operation")
    arguments = parser.parse_args()
    unknown = {*arguments.parts} - {*PARTS}
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    runs = PARTS | {"schemathesis": partial(fuzzing.run, examples=arguments.examples)}
    failures = 0
    with on_a_database_of_its_own() as service:
        operations = operations_of(service)
        for name in arguments.parts or PARTS:
            began = time.monotonic()
            part = runs[name](service, operations)
            print(f"{part}, seconds {time.monotonic() - began:.0f}", flush=True)
            for told in part.failures[:SHOWN]:
                print(f"  {told}")
            failures += len(part.failures)
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
