"""The app as a server in a terminal: what can go wrong at the start is one line, and Ctrl-C ends it
and leaves nothing behind."""

import importlib.util
import os
import signal
import socket
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from io import StringIO
from typing import TYPE_CHECKING, Any

from text_recognizer.errors import RecognizerError
from text_recognizer.places import lab_folder

if TYPE_CHECKING:
    from lab_utils.app.frontend import Frontend

DEFAULT_PORT = 7860


class ServerError(RecognizerError):
    """The app could not be served as asked."""


def prepare_environment() -> None:
    """Keeps Gradio from asking and telling others, and out of the home folder.

    Before its first import: it reads these then, and not again.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # The program that makes public links is downloaded there.
    os.environ.setdefault("HF_HOME", str(lab_folder() / "cache" / "huggingface"))
    os.environ.setdefault("MPLCONFIGDIR", str(lab_folder() / "cache" / "matplotlib"))


def parse_auth(text: str) -> tuple[str, str]:
    """The name and the password in `NAME:PASSWORD`; raises ServerError where one is missing."""
    name, _, password = text.partition(":")
    if not name.strip() or not password:
        raise ServerError("--auth takes NAME:PASSWORD, both of them not empty.")
    return name.strip(), password


def serve(
    frontend: "Frontend",
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    auth: tuple[str, str] | None = None,
    hosts: Collection[str] = (),
    mcp: bool = False,
    open_browser: bool = False,
) -> None:
    """Serves the app until Ctrl-C or SIGTERM, after one line with its address on stdout.

    Args:
        host: address to listen on.
        port: port; 0 takes a free one, and None DEFAULT_PORT, or a free one where that is taken.
        share: also make a public link, through Gradio's server.
        auth: name and password that the page and the API ask for.
        hosts: further names under which browsers reach it; see `Frontend.launch`.
        mcp: also offer the endpoints as tools, by the Model Context Protocol.
        open_browser: open the page in the user's browser.

    Raises:
        ServerError: the port is taken, or no public link can be made.
        KeyboardInterrupt: at Ctrl-C, once all is closed.
    """
    if mcp and importlib.util.find_spec("mcp") is None:
        raise ServerError("--mcp needs the package mcp; install it with pip install mcp.")
    port = _usual_port(host) if port is None else _free_port(host, port)
    ended = threading.Event()
    with _EndSignals(ended):
        try:
            _launch(
                frontend,
                server_name=host,
                server_port=port,
                share=share,
                auth=auth,
                hosts=tuple(hosts) or None,
                mcp_server=mcp,
                inbrowser=False,
            )
            if share and not frontend.share_url:
                raise ServerError(
                    "No public link could be made, since Gradio's server was not reached; check "
                    "the network, or leave out --share to serve this machine alone."
                )
            url = frontend.share_url or frontend.local_url
            if mcp:
                print(f"Its tools, by MCP over HTTP: {url.rstrip('/')}/gradio_api/mcp/")
            print(f"The app: {url} (Ctrl-C ends it)", flush=True)
            if open_browser:
                import webbrowser

                webbrowser.open(url)
            ended.wait()
        finally:
            frontend.close()
            _close_tunnels()


def _launch(frontend: "Frontend", **options: Any) -> None:
    """Launches without what Gradio prints; its errors become one sentence."""
    said = sys.stdout
    sys.stdout = StringIO()
    try:
        frontend.launch(inline=False, prevent_thread_lock=True, **options)
    except RecognizerError:
        raise
    except Exception as error:
        raise ServerError(
            f"The app could not be started ({type(error).__name__}: {error})"
        ) from None
    finally:
        sys.stdout = said


def _usual_port(host: str) -> int:
    try:
        return _free_port(host, DEFAULT_PORT)
    except ServerError:
        return _free_port(host, 0)


def _free_port(host: str, port: int) -> int:
    """The port, or a free one for 0; raises ServerError where it cannot be listened on."""
    address = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            return probe.getsockname()[1]
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServerError(
            f"The app cannot listen on {host}:{port} ({reason}); "
            "give another --port, or 0 for a free one."
        ) from None


def _close_tunnels() -> None:
    from gradio.tunneling import CURRENT_TUNNELS

    for tunnel in CURRENT_TUNNELS:
        with suppress(OSError):
            tunnel.kill()


class _EndSignals:
    """Turns Ctrl-C and SIGTERM into the end of a wait, and afterwards into what they stand for."""

    def __init__(self, ended: threading.Event) -> None:
        self._ended = ended
        self._got: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._end)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._got == signal.SIGINT and kind is None:
            raise KeyboardInterrupt
        if self._got == signal.SIGTERM and kind is None:
            raise SystemExit(128 + signal.SIGTERM)

    def _end(self, number: int, _frame: object) -> None:
        self._got = number
        self._ended.set()
