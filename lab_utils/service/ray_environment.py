"""What has to be settled before Ray is imported: it reads its environment then."""

import importlib.util
import os
import secrets
import socket

from lab_utils.service.errors import ServiceError

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Workers that nobody asked for take seconds and memory at the start.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    # On a busy machine Ray's parts take longer to start than the time that they have.
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
}


def prepare_ray(allow_open_ports: bool = False) -> None:
    """Sets Ray's environment, with a token that only this process and its children know.

    All of Ray listens on 127.0.0.1 except each replica: its port is open on all addresses, has no
    option, and asks for the token. `allow_open_ports` accepts that.

    Raises ServiceError if Ray is not installed, or if other machines could reach these ports.
    """
    if importlib.util.find_spec("ray") is None:
        raise ServiceError(
            "Ray is not installed; run in the project's folder: python -m pip install '.[ray]'"
        )
    if not allow_open_ports and any(not name.startswith("lo") for _, name in socket.if_nameindex()):
        raise ServiceError(
            "Ray's replicas open ports on all addresses, which ask for a token; add "
            "--allow-open-ports to accept that, or run the command under `unshare --net`."
        )
    os.environ |= ENVIRONMENT
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
