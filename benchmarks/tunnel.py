"""How soon does a link open, and how fast does it relay?

ngrok's servers and the network are not measured: a stand-in for the agent, from the tests, takes
their place on this machine. It starts, gives an address with TLS, and relays. The time to open the
link, less that agent's own start, is the lab's part.

Bytes go down (a large answer) and up (a large upload) through the authentication proxy only, and
through the whole link with its TLS: visitor, agent, proxy and app are separate processes.

Run it on an otherwise idle machine:

    python benchmarks/tunnel.py
"""

import argparse
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

from text_recognizer.places import project_folder

LEAST_MB_PER_SECOND = 20.0
MOST_SECONDS = 3.0

PIECE_BYTES = 256 * 1024
NAME = "lab.tunnel.localhost"

# An app that sends as many bytes as the path says, and counts those that it is sent.
APP = """
import http.server, socketserver

class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        size, piece = int(self.path[1:]), bytes(262144)
        self.answer(size)
        for _ in range(size // len(piece)):
            self.wfile.write(piece)

    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left > 0:
            left -= len(self.rfile.read(min(left, 262144)))
        self.answer(0)

    def answer(self, size):
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, *_):
        pass

class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True

with Server(("127.0.0.1", 0), App) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""
PROXY = """
import sys, threading
from lab_utils.tunnel.auth_proxy import AuthProxy

proxy = AuthProxy(int(sys.argv[1]), None)
proxy.start()
proxy.open_to("http://127.0.0.1")
print(proxy.port, flush=True)
threading.Event().wait()
"""
LINK = """
import sys
from lab_utils.tunnel import LinkSettings, open_link

with open_link(int(sys.argv[1]), LinkSettings(auth="none"), any_program=True) as tunnel:
    print(tunnel.url, flush=True)
    tunnel.wait()
"""


@contextmanager
def running(code: str, *arguments: object):
    """A Python process that prints one line once it is ready: the line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def seconds(place: str, size: int, upload: bool) -> float:
    """Seconds to get or to send so many bytes through `port` or `https://name:port`."""
    name, _, port = place.removeprefix("https://").rpartition(":")
    connection = socket.create_connection(("127.0.0.1", int(port)), timeout=120)
    if name:
        trust = ssl.create_default_context(cafile=os.environ["STAND_IN_CERTIFICATE"])
        connection = trust.wrap_socket(connection, server_hostname=name)
    head = f"POST / HTTP/1.1\r\nContent-Length: {size}" if upload else f"GET /{size} HTTP/1.1"
    piece = memoryview(bytearray(PIECE_BYTES))
    with connection:
        start = time.perf_counter()
        connection.sendall(f"{head}\r\nHost: {name or '127.0.0.1'}\r\n\r\n".encode())
        for _ in range(size // PIECE_BYTES if upload else 0):
            connection.sendall(piece)
        got = connection.recv_into(piece)
        if not bytes(piece[:got]).startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"The relay answered {bytes(piece[:80])!r}.")
        while not upload and got < size:
            count = connection.recv_into(piece)
            if not count:
                raise SystemExit("The relay broke off.")
            got += count
        return time.perf_counter() - start


def rates(places: dict[str, str], size: int, rounds: int) -> dict[str, dict[str, float]]:
    """MB/s of each place, down and up: medians of rounds that take turns."""
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, place in places.items():
            for way in ("down", "up"):
                took = seconds(place, size, way == "up")
                found.setdefault((name, way), []).append(size / 1e6 / took)
    return {
        name: {way: statistics.median(found[name, way]) for way in ("down", "up")}
        for name in places
    }


def agent_seconds(edge) -> float:
    """Seconds from starting only the agent until it says that it is connected."""
    config = edge.folder / "agent.yml"
    config.write_text('{"agent": {"authtoken": "good"}}')
    command = [edge.agent, "start", "--none", "--log", "stdout", "--config", config]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        for line in agent.stdout:
            if "tunnel session started" in line:
                break
        took = time.perf_counter() - start
        agent.kill()
    return took


def opening_seconds(port: int) -> float:
    from lab_utils.tunnel import open_link

    start = time.perf_counter()
    with open_link(port, any_program=True):
        return time.perf_counter() - start


def measure(size: int, rounds: int) -> dict:
    sys.path.insert(0, str(project_folder() / "tests"))
    from tunnel_serving import Edge

    with tempfile.TemporaryDirectory() as folder, running(APP) as port:
        edge = Edge(Path(folder))
        os.environ.update(edge.variables)
        opening_seconds(int(port))  # imports
        pairs = [(agent_seconds(edge), opening_seconds(int(port))) for _ in range(rounds)]
        with running(PROXY, port) as proxy, running(LINK, port) as link:
            relayed = rates({"app": port, "proxy": proxy, "link": link}, size, rounds)
    return {
        "agent_seconds": statistics.median(agent for agent, _ in pairs),
        "opening_seconds": statistics.median(opening for _, opening in pairs),
        "added_seconds": statistics.median(opening - agent for agent, opening in pairs),
        "mb_per_second": relayed,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=64, help="size of a transfer, at most 100")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    size = max(options.megabytes * 10**6 // PIECE_BYTES, 1) * PIECE_BYTES
    found = measure(size, options.rounds)
    relayed = found["mb_per_second"]
    print(f"{'MB/s':<8}{'down':>8}{'up':>8}")
    for name, rate in relayed.items():
        print(f"{name:<8}{rate['down']:>8.0f}{rate['up']:>8.0f}")
    print(
        f"the agent itself starts in {found['agent_seconds']:.2f} s, a link opens in "
        f"{found['opening_seconds']:.2f} s: {found['added_seconds']:.2f} s more"
    )
    slowest = min(relayed["link"].values())
    result = {
        "benchmark": "tunnel",
        "mb_per_second": {
            name: {way: round(value) for way, value in rate.items()}
            for name, rate in relayed.items()
        },
        **{name: round(found[name], 3) for name in found if name.endswith("_seconds")},
        "rounds": options.rounds,
        "load_average": round(os.getloadavg()[0], 1),
        "targets": {
            "link_mb_per_second": {
                "least": LEAST_MB_PER_SECOND,
                "met": slowest >= LEAST_MB_PER_SECOND,
            },
            "added_seconds": {"most": MOST_SECONDS, "met": found["added_seconds"] <= MOST_SECONDS},
        },
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
