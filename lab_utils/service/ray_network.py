"""A private network for one process and its children. Ray's replicas listen on all addresses, and
no option of it closes that port; where no address leads in, nobody can reach it."""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

from text_recognizer.errors import RecognizerError

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


class PrivateNetworkError(RecognizerError):
    """This machine gives a process no network of its own."""


def become_namespace_owner() -> None:
    """Takes the right to make a network, where this process doesn't have it as root.

    Only for a process with a single thread: the kernel allows it to no other. It keeps its user
    and its files; see user_namespaces(7). Raises PrivateNetworkError where it isn't allowed.
    """
    if os.geteuid() == 0:
        return
    user, group = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def enter_private_network() -> None:
    """Moves the calling thread into a new network in which only its own loopback exists.

    Threads and processes that it starts from now on are there too. Threads that already run stay
    outside, and sockets that are open go on serving the network that they were opened in: see
    network_namespaces(7). Raises PrivateNetworkError where it isn't allowed.
    """
    _unshare(_CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _unshare(kind: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "unshare"):
        raise PrivateNetworkError("Private networks exist on Linux alone.")
    if library.unshare(kind):
        reason = os.strerror(ctypes.get_errno())
        raise PrivateNetworkError(f"The kernel gives this process no private network ({reason}).")
