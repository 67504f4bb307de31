"""A stand-in for ngrok's agent: NOT ngrok, it reaches no server and nobody outside this machine.

It is started as pyngrok starts the real one, prints the lines that pyngrok waits for, serves the
part of the agent's API that it asks, and takes the place of ngrok's servers, too: it listens with
TLS on 127.0.0.1 and relays what comes, byte for byte, to where the endpoint leads.

With the tokens `revoked`, `unreachable`, `taken` and `silent` it fails as ngrok does; any other one
is good. Its domains end in `.tunnel.localhost`.

Variables: STAND_IN_CERTIFICATE, a PEM file with key and certificate for those names; STAND_IN_PORT,
the port of reserved domains.
"""

import asyncio
import json
import os
import secrets
import signal
import ssl
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import yaml

REVOKED = (
    "authentication failed: The authtoken you specified is properly formed, but it is invalid."
    "\\r\\nYour authtoken: revoked\\r\\n\\r\\nERR_NGROK_107\\r\\n"
)
UNREACHABLE = 'failed to dial ngrok server with address \\"connect.ngrok-agent.com:443\\": dial tcp'


def log(text: str) -> None:
    print(f"t={time.strftime('%Y-%m-%dT%H:%M:%S+0000')} {text}", flush=True)


async def open_endpoint(name: str, url: str, upstream: dict) -> dict:
    """A public address, with TLS, that leads to an address of this machine."""
    domain = url.removeprefix("https://")
    port = int(os.environ["STAND_IN_PORT"]) if domain else 0
    domain = domain or f"{secrets.token_hex(6)}.tunnel.localhost"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["STAND_IN_CERTIFICATE"])
    place = urlsplit(upstream["url"])

    async def relay(*visitor) -> None:
        with suppress(OSError):
            app = await asyncio.open_connection(place.hostname, place.port)
            await asyncio.gather(pump(visitor[0], app[1]), pump(app[0], visitor[1]))

    server = await asyncio.start_server(relay, "127.0.0.1", port, ssl=context)
    url = f"https://{domain}:{server.sockets[0].getsockname()[1]}"
    return {"name": name, "url": url, "upstream": upstream}


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(256 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The agent's API: a POST makes an endpoint."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status, content = 200, {"endpoints": []}
    if head.startswith("post"):
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        asked = json.loads(await reader.readexactly(length))
        assert set(asked) == {"name", "url", "upstream"} and asked["url"].startswith("https://")
        if os.environ["NGROK_AUTHTOKEN"] == "taken":
            why = "failed to start tunnel: The endpoint is already online.\r\n\r\nERR_NGROK_334\r\n"
            status, content = 502, {"error_code": 103, "status_code": 502, "details": {"err": why}}
            content["msg"] = "failed to start tunnel"
        else:
            status, content = 201, await open_endpoint(**asked)
    body = json.dumps(content)
    writer.write(
        f"HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
    )
    await writer.drain()
    writer.close()


async def main() -> None:
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
    api = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = api.sockets[0].getsockname()[1]
    log(f'lvl=info msg="starting web service" obj=web addr=127.0.0.1:{port}')
    failure = {"revoked": REVOKED, "unreachable": UNREACHABLE}.get(token)
    while failure:  # the real one goes on trying
        log(f'lvl=eror msg="failed to reconnect session" obj=tunnels.session err="{failure}"')
        await asyncio.sleep(0.5)
    log('lvl=info msg="client session established" obj=tunnels.session')
    log('lvl=info msg="tunnel session started" obj=tunnels.session')
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
