"""Where hosts meet, and by which of its addresses and interfaces a host is reached."""

import fcntl
import socket
import struct
import sys
from contextlib import closing

ADDRESS_OF_INTERFACE = 0x8915
"""Linux: asks for the address of a network interface (SIOCGIFADDR)."""


def split(meet_at: str) -> tuple[str, int]:
    """Return host and port of ``host:port``."""
    host, _, port = meet_at.rpartition(":")
    return host, int(port)


def is_open(meet_at: str, timeout: float = 2.0) -> bool:
    """Tell whether the first host listens."""
    try:
        with socket.create_connection(split(meet_at), timeout):
            return True
    except OSError:
        return False


def own_address(meet_at: str) -> str:
    """Return the address of this host that faces the first host.

    Raises
    ------
    ValueError
        If the first host is not known here.
    """
    host, port = split(meet_at)
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
            probe.connect(place)  # sends nothing
            return probe.getsockname()[0]
    except OSError as error:
        raise ValueError(
            f"The host of Q2_AAM_MEET_AT, '{host}', cannot be reached from this host "
            f"({error.strerror}); give the first host's name or address as the others know it."
        ) from error


def interface_of(address: str) -> str | None:
    """Return the network interface that has an IPv4 address; None where that cannot be told."""
    if not sys.platform.startswith("linux"):
        return None
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        for _, name in socket.if_nameindex():
            asked = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), ADDRESS_OF_INTERFACE, asked)
            except OSError:  # it has none
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
