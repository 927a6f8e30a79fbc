"""How far a file has been read, told while it is read."""

import io
from collections.abc import Callable


class ProgressReader(io.BufferedReader):
    """A file that tells how many of its bytes have been read as lines.

    raw: the file itself, without a buffer. tell_of: is given the number, rising, and by the end all of them.
    """

    def __init__(self, raw: io.RawIOBase, tell_of: Callable[[int], None]) -> None:
        super().__init__(raw)
        self._tell_of = tell_of
        self._read = 0

    def read1(self, size: int = -1) -> bytes:
        """Some bytes, as a reader of text asks for them; what is read otherwise, to look ahead, is not counted."""
        part = super().read1(size)
        if part:
            self._read += len(part)
            self._tell_of(self._read)
        return part
