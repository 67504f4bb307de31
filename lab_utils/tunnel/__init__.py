"""A public link to an app on this machine: through ngrok, or through a host of one's own with ssh.

Both ways end at the same gate on this machine, which asks visitors for a password.
"""

from lab_utils.tunnel.errors import TunnelDownError, TunnelError
from lab_utils.tunnel.opening import open_ssh_tunnel, open_tunnel
from lab_utils.tunnel.tunnel import Tunnel

__all__ = ["Tunnel", "TunnelDownError", "TunnelError", "open_ssh_tunnel", "open_tunnel"]
