"""Whether a request asks this machine under a name that is its own.

A page of another site can make its own name resolve to 127.0.0.1 (DNS rebinding) and then read what
a local server answers. The Host header gives it away: it holds that name.
"""

import ipaddress
from collections.abc import Collection


def host_name(host: str) -> str:
    """The name or address in a Host header, without port and brackets, in lower case."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name.strip("[]").lower()


def is_own_host(host: str, names: Collection[str] = ()) -> bool:
    """Whether a Host header holds localhost, one of `names`, or an address in numbers.

    An address in numbers cannot be rebound: no look-up leads from it to another one.
    """
    name = host_name(host)
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
