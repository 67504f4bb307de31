"""The process that Ray and its HTTP edge run in, started by `ray_service.RayService`.

A process of its own, because it moves into a private network, sets Ray's environment, and takes
everything that Ray started with it when it ends. Its orders come as JSON lines on stdin, beginning
with the settings; what happens goes out as JSON lines on stdout. The end of stdin ends it.
"""

import asyncio
import json
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue
from socket import socket
from typing import Any, Protocol, TextIO

from lab_utils.service.ray_network import become_namespace_owner, enter_private_network
from lab_utils.service.ray_settings import Settings
from text_recognizer.errors import RecognizerError

LOOPBACK = "127.0.0.1"
OBJECT_STORE_BYTES = 200 * 2**20
"""Shared memory for images on their way to a replica; Ray writes to the disk what is too much."""

_FETCHERS = 8


@dataclass(frozen=True)
class Order:
    """What to serve, and where."""

    settings: Settings
    listener: int
    """File descriptor of the socket that listens for HTTP."""
    folder: str
    """For Ray's sockets and logs; a short path, since a socket's has at most 107 characters."""
    private_network: bool = True
    allow_private_addresses: bool = False

    @classmethod
    def from_json(cls, text: str) -> "Order":
        fields = json.loads(text)
        return cls(**fields | {"settings": Settings(**fields["settings"])})


class Machines(Protocol):
    """A Ray cluster that this process starts, connects to, and ends."""

    def start(self, order: Order) -> None: ...
    def obey(self, order: dict[str, Any]) -> dict[str, Any]: ...
    def stop(self) -> None: ...


class OneMachine:
    """A cluster of this machine alone, which nobody outside can reach."""

    def start(self, order: Order) -> None:
        import ray

        settings = order.settings
        ray.init(
            # Twice what the replicas need: while they are replaced, old and new ones live.
            num_cpus=2 * settings.replicas * settings.threads,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address=LOOPBACK,
        )

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(order)

    def stop(self) -> None:
        import ray

        ray.shutdown()


def serve(machines: Machines, orders: TextIO, events: TextIO) -> None:
    """Serves from the first order on stdin to the end of stdin."""
    order = Order.from_json(orders.readline())
    # An open socket belongs to the network that it was opened in, so HTTP still comes from there.
    with socket(fileno=order.listener) as listener:
        fetching = _network_outside(order)
        _set_environment(order.folder)
        machines.start(order)
        try:
            asyncio.run(_Server(order, machines, listener, fetching, events).run(orders))
        finally:
            machines.stop()


def _set_environment(folder: str) -> None:
    """What Ray reads when it is imported: nothing is reported, nothing is written elsewhere."""
    os.environ |= {
        "RAY_TMPDIR": folder,
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray would make a token at home. Only what this process starts knows this one.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Workers that nobody asked for take seconds and memory at the start.
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
    }


def _network_outside(order: Order) -> Executor:
    """Goes into the private network, and returns threads that have stayed outside of it.

    They fetch image_url. Threads are begun here, not when they are first needed: one that is begun
    inside is inside.
    """
    if order.private_network:
        become_namespace_owner()
    fetching = ThreadPoolExecutor(_FETCHERS, "fetching")
    all_here = threading.Barrier(_FETCHERS + 1)
    for _ in range(_FETCHERS):
        fetching.submit(all_here.wait)
    all_here.wait()
    if order.private_network:
        enter_private_network()
    return fetching


class _Server:
    """The application and its edge, once Ray runs."""

    def __init__(
        self,
        order: Order,
        machines: Machines,
        listener: socket,
        fetching: Executor,
        events: TextIO,
    ) -> None:
        self._order, self._settings = order, order.settings
        self._machines, self._listener = machines, listener
        self._fetching, self._events = fetching, events

    async def run(self, orders: TextIO) -> None:
        import uvicorn

        from lab_utils.service import ray_app
        from lab_utils.service.ray_edge import Edge

        handle = await asyncio.to_thread(ray_app.deploy, self._settings)
        edge = Edge(
            handle,
            lambda: ray_app.health(self._settings),
            self._fetching,
            self._order.allow_private_addresses,
        )
        config = uvicorn.Config(
            edge,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve([self._listener]))
        self._tell({"event": "ready"})
        loop = asyncio.get_running_loop()
        waiting: SimpleQueue[dict[str, Any]] = SimpleQueue()
        for target, *own in (self._obey, waiting), (self._listen, orders, waiting, loop, server):
            threading.Thread(target=target, args=own, daemon=True).start()
        await serving

    def _listen(
        self,
        orders: TextIO,
        waiting: "SimpleQueue[dict[str, Any]]",
        loop: asyncio.AbstractEventLoop,
        server: Any,
    ) -> None:
        """Passes orders on; their end ends the server, also while one is being obeyed."""
        for line in orders:
            waiting.put(json.loads(line))
        loop.call_soon_threadsafe(setattr, server, "should_exit", True)

    def _obey(self, waiting: "SimpleQueue[dict[str, Any]]") -> None:
        while True:
            self._tell(self._done(waiting.get()))

    def _done(self, order: dict[str, Any]) -> dict[str, Any]:
        from lab_utils.service import ray_app

        try:
            if order["do"] != "update":
                return {"event": "done", **self._machines.obey(order)}
            settings = replace(self._settings, **order["settings"])
            ray_app.deploy(settings)
            self._settings = settings
            return {"event": "done"}
        except RecognizerError as error:
            return {"event": "failed", "error": str(error)}
        except Exception as error:
            return {"event": "failed", "error": f"{type(error).__name__}: {error}"}

    def _tell(self, event: dict[str, Any]) -> None:
        print(json.dumps(event), file=self._events, flush=True)


def main(machines: Callable[[], Machines] = OneMachine) -> None:
    # Whatever else is printed in this process must not pass for an event.
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        serve(machines(), sys.stdin, events)
    except RecognizerError as error:
        print(json.dumps({"event": "failed", "error": str(error)}), file=events, flush=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
