"""Report how much of a file has been read."""

import io
from collections.abc import Callable


class ProgressReader(io.BufferedReader):
    """A file that reports how many of its bytes have been read.

    raw: the unbuffered file. report: called with the number of bytes, which rises up to the size of the file.
    """

    def __init__(self, raw: io.RawIOBase, report: Callable[[int], None]) -> None:
        super().__init__(raw)
        self._report = report
        self._count = 0

    def read1(self, size: int = -1) -> bytes:
        """Return some bytes, and count them. `read` does not count: it only looks ahead."""
        part = super().read1(size)
        if part:
            self._count += len(part)
            self._report(self._count)
        return part
