"""A public link to an app on this machine: through ngrok, or through a host of your own with ssh.

Both end at the same authentication proxy on this machine, which asks visitors for a password.
"""

from lab_utils.tunnel.errors import TunnelDownError, TunnelError
from lab_utils.tunnel.opening import LinkSettings, open_link
from lab_utils.tunnel.tunnel import Tunnel

__all__ = [
    "LinkSettings",
    "Tunnel",
    "TunnelDownError",
    "TunnelError",
    "open_link",
]
