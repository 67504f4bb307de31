"""A public link to an app on this machine, through ngrok.

It ends at an authentication proxy on this machine, which asks visitors for a password.
"""

from lab_utils.logins import Login
from lab_utils.tunnel.tunnel import Tunnel, open_link
from lab_utils.tunnel.way import TunnelDownError, TunnelError

__all__ = ["Login", "Tunnel", "TunnelDownError", "TunnelError", "open_link"]
