"""How a worker stops accepting connections without resetting those that wait for it."""

import contextlib
import ctypes
import os
import socket
import struct
import sys

_SO_ATTACH_FILTER = 26  # From Linux, <asm-generic/socket.h>. Python has no constant for it.
# Classic BPF over a TCP segment, <linux/filter.h>: drop it if it has the flag SYN without ACK.
_DROP_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # Load the byte of the flags.
        (0x54, 0, 0, 0x12),  # Select SYN and ACK.
        (0x15, 1, 0, 0x02),  # If only SYN is set, skip one instruction.
        (0x06, 0, 0, 0xFFFFFFFF),  # Accept the segment.
        (0x06, 0, 0, 0),  # Drop the segment.
    )
)


def stop_accepting() -> None:
    """Make the listening sockets of this process ignore new connections, but keep those in their queues.

    Closing a listening socket resets the connections in its queue, although clients may have sent their requests. A
    filter drops new ones instead: their clients retry after a second, when the socket is closed or another process
    listens. Only Linux has such filters; elsewhere, this function does nothing.
    """
    if sys.platform != "linux":
        return
    instructions = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    program = struct.pack("HP", len(_DROP_SYN) // 8, ctypes.addressof(instructions))
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as listener:
            if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
