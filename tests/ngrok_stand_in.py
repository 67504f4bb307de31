"""A stand-in for ngrok's agent: NOT ngrok, it reaches no server and nobody outside this machine.

It is started as pyngrok starts the real one, prints the lines that pyngrok waits for, serves the
part of the agent's API that it asks, and takes the place of ngrok's servers, too: it listens with
TLS on 127.0.0.1 and relays what comes, byte for byte, to where the endpoint leads.

What it does is up to the token: `revoked`, `unreachable` and `silent` do as ngrok does; any other
one is good. Its domains end in `.tunnel.localhost`.

Variables: STAND_IN_CERTIFICATE, a PEM file with key and certificate for those names; STAND_IN_PORT,
the port of reserved domains; STAND_IN_FOLDER, where domains that are open leave a file.
"""

import json
import os
import secrets
import signal
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import yaml

PIECE_BYTES = 256 * 1024
REVOKED = (
    "authentication failed: The authtoken you specified is properly formed, but it is invalid."
    "\\r\\nYour authtoken: revoked\\r\\n\\r\\nERR_NGROK_107\\r\\n"
)


def log(text: str) -> None:
    print(f"t={time.strftime('%Y-%m-%dT%H:%M:%S+0000')} {text}", flush=True)


class Endpoint:
    """A public address, with TLS, that leads to an address of this machine."""

    def __init__(self, name: str, url: str, upstream: str) -> None:
        self.name, self.upstream = name, urlsplit(upstream)
        domain = url.removeprefix("https://")
        port = int(os.environ.get("STAND_IN_PORT", 0)) if domain else 0
        domain = domain or f"{secrets.token_hex(6)}.tunnel.localhost"
        folder = Path(os.environ["STAND_IN_FOLDER"])
        if (folder / domain).exists() and is_running(int((folder / domain).read_text())):
            raise OnlineError(f"The endpoint https://{domain} is already online.")
        (folder / domain).write_text(str(os.getpid()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.environ["STAND_IN_CERTIFICATE"])
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", port), backlog=64)
        self.url = f"https://{domain}:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def as_json(self) -> dict:
        return {"name": self.name, "url": self.url, "upstream": {"url": self.upstream.geturl()}}

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                visitor, _ = self._listening.accept()
                threading.Thread(target=self._relay, args=(visitor,), daemon=True).start()

    def _relay(self, visitor: socket.socket) -> None:
        with suppress(OSError):
            visitor = self._context.wrap_socket(visitor, server_side=True)
            app = socket.create_connection((self.upstream.hostname, self.upstream.port))
            back = threading.Thread(target=pump, args=(app, visitor), daemon=True)
            back.start()
            pump(visitor, app)
            back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE_BYTES):
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def is_running(process: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class OnlineError(Exception):
    """The domain is in use."""


class Api(BaseHTTPRequestHandler):
    endpoints: dict[str, Endpoint] = {}

    def do_GET(self) -> None:
        self._answer(200, {"endpoints": [one.as_json() for one in self.endpoints.values()]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        unknown = set(asked) - {"name", "url", "upstream"}
        if unknown or not asked["url"].startswith("https://"):
            self._answer(400, {"msg": f"invalid endpoint: {sorted(unknown)}"})
            return
        try:
            endpoint = Endpoint(asked["name"], asked["url"], asked["upstream"]["url"])
        except OnlineError as error:
            why = f"failed to start tunnel: {error}\r\n\r\nERR_NGROK_334\r\n"
            body = {"error_code": 103, "status_code": 502, "msg": "failed to start tunnel"}
            self._answer(502, body | {"details": {"err": why}})
            return
        self.endpoints[asked["name"]] = endpoint
        self._answer(201, endpoint.as_json())

    def _answer(self, status: int, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:5] != ["start", "--none", "--log", "stdout", "--config"] or len(arguments) != 6:
        sys.exit(f"ERROR: unknown arguments: {arguments}")
    settings = yaml.safe_load(Path(arguments[5]).read_text())["agent"]
    if settings["inspect_db_size"] != -1 or "authtoken" in settings:
        sys.exit(f"ERROR: unknown settings: {settings}")
    token = os.environ["NGROK_AUTHTOKEN"]
    if token == "silent":
        signal.pause()
    log('lvl=info msg="FIPS 140 mode" enabled=false')
    api = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    log(f'lvl=info msg="starting web service" obj=web addr=127.0.0.1:{api.server_port}')
    if token == "revoked":
        log(f'lvl=eror msg="failed to reconnect session" obj=tunnels.session err="{REVOKED}"')
        signal.pause()  # the real one goes on trying
    while token == "unreachable":
        why = 'failed to dial ngrok server with address \\"connect.ngrok-agent.com:443\\": dial tcp'
        log(f'lvl=eror msg="failed to reconnect session" obj=tunnels.session err="{why}"')
        time.sleep(0.5)
    log('lvl=info msg="client session established" obj=tunnels.session')
    log('lvl=info msg="tunnel session started" obj=tunnels.session')
    signal.pause()


if __name__ == "__main__":
    main()
