"""The sockets on which a worker listens, and how it stops listening without failing anybody."""

import contextlib
import ctypes
import os
import socket
import struct
import sys

_SO_ATTACH_FILTER = 26  # Of Linux, <asm-generic/socket.h>. Python has no name for it.
# Classic BPF over a TCP segment, <linux/filter.h>: whether of the flags SYN and ACK it has SYN alone.
_ALL_BUT_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # Load the byte of the flags,
        (0x54, 0, 0, 0x12),  # of which these two count.
        (0x15, 1, 0, 0x02),  # It opens a connection: pass over the next instruction.
        (0x06, 0, 0, 0xFFFFFFFF),  # Take it.
        (0x06, 0, 0, 0),  # Drop it.
    )
)


def stop_accepting() -> None:
    """Let no further connection come to the sockets of this process, but keep those that have come.

    A socket that is closed resets the connections that nobody has accepted yet, although their callers have sent their
    requests. From now on, whoever connects gets no answer, tries again a second later, and is refused if the socket is
    closed by then. Elsewhere than on Linux, nothing happens.
    """
    if sys.platform != "linux":
        return
    instructions = ctypes.create_string_buffer(_ALL_BUT_SYN, len(_ALL_BUT_SYN))
    program = struct.pack("HP", len(_ALL_BUT_SYN) // 8, ctypes.addressof(instructions))
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as listener:
            if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
