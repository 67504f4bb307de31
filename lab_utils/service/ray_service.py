"""Ray on this machine with the application of `ray_app` on it.

Ray reads part of its environment when it is imported, so it is imported here only once that is set.
"""

import contextlib
import importlib.util
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab_utils.net import LOOPBACK, listening_socket
from lab_utils.service.errors import ServiceError
from text_recognizer.limits import MAX_BATCH

OBJECT_STORE_BYTES = 200 * 2**20
"""Shared memory for images on their way to a replica; Ray writes to the disk what is too much."""

_STARTS = 4
"""Ray gives a node 30 s to find itself, and has no setting for that."""


@dataclass(frozen=True)
class RaySettings:
    """How pages are read; see `lab service ray --help`."""

    model: str
    """TorchScript file, found under this path on every machine of the cluster."""
    replicas: int = 1
    max_batch: int = MAX_BATCH
    """Most pages that are read at once."""
    max_wait_ms: float = 10.0
    """How long the first page of a batch waits for others while the replica has nothing to do."""
    queue_size: int = 32
    """Pages that wait for a replica with room; more are refused with 503."""
    threads: int = 1
    """Cores that a replica uses."""
    allow_private_addresses: bool = False
    """Also fetch an image_url inside a private network."""


@contextlib.contextmanager
def serving(settings: RaySettings, port: int = 0, allow_open_ports: bool = False) -> Iterator[str]:
    """Starts Ray and runs the application behind Serve's proxy on 127.0.0.1; ends both.

    Gives the service's address.

    All of it listens on 127.0.0.1 but the port of each replica: that is open on all addresses, has
    no option, and asks for a token that only this process and its children know.
    `allow_open_ports` accepts that; without it, Ray starts only if no other machine can reach it.

    Raises ServiceError without Ray, if the port is taken, or if others could reach Ray's ports;
    ModelFileError if the model can't be used.
    """
    with listening_socket(port, error=ServiceError) as listening:
        port = listening.getsockname()[1]
    with ray_folder() as folder:
        prepare_environment(folder)
        if not allow_open_ports and _reaches_other_machines():
            raise ServiceError(
                "Ray's replicas open ports on all addresses, which ask for a token; add "
                "--allow-open-ports to accept that, or run the command under `unshare --net`."
            )
        import ray
        from ray import serve

        from lab_utils.service.ray_app import deploy

        # Serve gives its logger a level of its own when it is imported.
        for name in ("ray", "ray.serve"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            _start_ray(settings.replicas * settings.threads)
            serve.start(proxy_location="HeadOnly", http_options={"host": LOOPBACK, "port": port})
            deploy(settings)
            yield f"http://{LOOPBACK}:{port}"
        finally:
            if ray.is_initialized():
                serve.shutdown()
            ray.shutdown()


def _reaches_other_machines() -> bool:
    """Whether this machine, or the network that this process was put into, has more than lo."""
    return any(not name.startswith("lo") for _, name in socket.if_nameindex())


def _start_ray(cpus: int, tries: int = _STARTS) -> None:
    """Starts Ray; raises ServiceError if it doesn't start.

    A busy machine may miss the time that Ray gives a node, so it is tried again.
    """
    import ray

    ends = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            num_cpus=cpus,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address=LOOPBACK,
        )
    except Exception as error:  # Ray raises nothing more particular
        ray.shutdown()
        if tries == 1:
            reason = " ".join(str(error).split())[:300]
            raise ServiceError(f"Ray did not start ({reason}); try again.") from error
        _start_ray(cpus, tries - 1)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ends)  # Ray has put a handler of its own there


def prepare_environment(folder: Path) -> None:
    """Sets what Ray reads from the environment: its folder, a token, and that it reports nothing.

    Raises ServiceError if Ray is not installed, or was imported before.
    """
    if importlib.util.find_spec("ray") is None:
        raise ServiceError(
            "Ray is not installed; run in the project's folder: python -m pip install '.[ray]'"
        )
    if "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE") != "token":
        raise ServiceError("Ray was imported before its ports got a token; start a new process.")
    os.environ |= {
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        # Workers that nobody asked for take seconds and memory at the start.
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        # On a busy machine Ray's parts take longer to start than the time that they have.
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
        "RAY_gcs_server_port_wait_time_s": "300",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    }
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


@contextlib.contextmanager
def ray_folder() -> Iterator[Path]:
    """A folder for Ray's sockets and logs; the paths of sockets may have only 107 characters."""
    options = {"prefix": "lab-ray-", "dir": "/tmp", "ignore_cleanup_errors": True}
    with tempfile.TemporaryDirectory(**options) as folder:
        yield Path(folder)
