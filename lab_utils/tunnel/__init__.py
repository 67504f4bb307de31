"""A public link to an app on this machine: through ngrok, or through a host of your own with ssh.

Both end at the same authentication proxy on this machine, which asks visitors for a password.
"""

from lab_utils.logins import Login
from lab_utils.tunnel.tunnel import LinkSettings, Tunnel, open_link
from lab_utils.tunnel.way import TunnelDownError, TunnelError

__all__ = ["LinkSettings", "Login", "Tunnel", "TunnelDownError", "TunnelError", "open_link"]
