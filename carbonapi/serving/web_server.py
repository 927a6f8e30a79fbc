"""Run granian: `python -m carbonapi.serving.web_server`, with granian's options.

Its workers are forks of this process, so this process imports the application once for all of them. They start and are
replaced at once, and share its memory.
"""

import gc
import multiprocessing
import pkgutil
from importlib import import_module

import carbonapi


def main() -> None:
    if multiprocessing.get_start_method() == "fork":
        # Nothing that the imports create is garbage. Collections in the workers then need not look at it either.
        gc.disable()
        for room in pkgutil.iter_modules(carbonapi.__path__, "carbonapi."):
            import_module(room.name)
        gc.freeze()
        gc.enable()

    from granian.cli import entrypoint

    entrypoint()


if __name__ == "__main__":
    main()
