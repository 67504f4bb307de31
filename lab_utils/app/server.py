"""Serves the page: Gradio within FastAPI, behind the limits, with one line for each thing that can
go wrong at the start. Ctrl-C ends it, and nothing is left behind."""

import asyncio
import logging
import os
import secrets
import sys
import threading
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.app.limits import MAX_REQUEST_BYTES, MAX_UPLOAD_BYTES, QUEUE_SIZE, READERS
from lab_utils.app.uploads import use_cache_folder
from lab_utils.logins import Login
from lab_utils.net import LOOPBACK, LocalServer, is_loopback, keep_local_direct, listening_socket
from lab_utils.signals import orderly_end
from text_recognizer import decoding
from text_recognizer.errors import RecognizerError
from text_recognizer.places import SAMPLE_PAGES, keep_home_clean, lab_folder

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from lab_utils.app.events import Events
    from lab_utils.predictors import Predictor

DEFAULT_PORT = 7860


class ServerError(RecognizerError):
    """The app could not be served as asked."""


def prepare_environment() -> None:
    """Keeps Gradio from calling its makers, and out of the home folder.

    Call it before the first import of Gradio, which reads these only then.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # The program that makes public links is downloaded there.
    os.environ.setdefault("HF_HOME", str(lab_folder() / "cache" / "huggingface"))
    keep_home_clean()
    keep_local_direct()
    use_cache_folder()


def make_frontend(
    predictor: "Predictor",
    *,
    flagging_dir: str | os.PathLike | None = None,
    queue_size: int = QUEUE_SIZE,
    readers: int = READERS,
) -> "Frontend":
    """Returns the app over a predictor; `.launch()` serves it, `.close()` ends that.

    Args:
        predictor: what reads; called from `readers` threads.
        flagging_dir: folder for the feedback; else `.lab/feedback`.
        queue_size: pages that may wait while `readers` pages are being read; further ones are
            refused with status 503.
        readers: pages that are read at once.
    """
    prepare_environment()
    from lab_utils.app.admission import Admission
    from lab_utils.app.events import Events
    from lab_utils.app.feedback import FeedbackFolder

    decoding.start()
    folder = Path(flagging_dir) if flagging_dir is not None else lab_folder() / "feedback"
    return Frontend(Events(predictor, FeedbackFolder(folder), Admission(readers, queue_size)))


class Frontend:
    """The page and its API as a server in this process; see `make_frontend`."""

    def __init__(self, events: "Events") -> None:
        from lab_utils.app.frontend import make_page

        self.functions = events
        self.page = make_page(events)
        self.local_url = ""
        self.share_url: str | None = None
        self.server_port = 0
        self._server: LocalServer | None = None

    def launch(
        self,
        *,
        server_name: str = LOOPBACK,
        server_port: int | None = None,
        share: bool = False,
        auth: tuple[str, str] | Login | None = None,
        hosts: Collection[str] | None = None,
        inline: bool = True,
        height: int = 500,
    ) -> "tuple[ASGIApp, str, str | None]":
        """Serves the app from a separate thread; returns (application, its address, the public
        link), as Gradio does.

        The arguments are those of `gradio.Blocks.launch`, with safer defaults: 127.0.0.1, and no
        public link unless `share=True`, also on Colab.

        Args:
            server_port: 0 takes a free one, and None DEFAULT_PORT, or a free one where that is
                taken.
            auth: name and password that page and API ask for.
            hosts: names under which browsers reach the app, besides localhost and addresses in
                numbers; "*" for any. None: any where a tunnel or a hosted notebook's proxy chooses
                the name (`share=True`, Colab, ...) or another address than this machine's own is
                listened on, else no more.
            inline: show the page below the cell, `height` px high, where this is a notebook.

        Raises:
            ServerError: the port is taken, or no public link can be made.
        """
        from gradio import utils

        self.close()
        host = server_name.strip("[]")
        listening = listening_socket(server_port, host, ServerError, preferred=DEFAULT_PORT)
        self.server_port = listening.getsockname()[1]
        shown = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
        self.local_url = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.server_port}/"
        if hosts is None:
            is_hosted = utils.colab_check() or utils.is_hosted_notebook()
            hosts = ("*",) if share or is_hosted or not is_loopback(host) else ()
        app = self._application(Login(*auth) if isinstance(auth, tuple) else auth, hosts)
        logging.getLogger("uvicorn.error").addFilter(_is_not_of_the_end)
        options = {"lifespan": "on", "timeout_graceful_shutdown": 2}
        self._server = LocalServer("app", app, listening, ServerError, **options)
        self._server.start()
        if share:
            self.share_url = self._shared()
        if inline and "ipykernel" in sys.modules:
            _show_inline(self.share_url or self.local_url, self.server_port, height)
        return app, self.local_url, self.share_url

    def close(self, verbose: bool = False) -> None:
        """Ends the server, silently; a page that is being read is read to its end."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self.share_url is not None:
            from gradio.tunneling import CURRENT_TUNNELS

            for tunnel in CURRENT_TUNNELS:
                tunnel.kill()
            self.share_url = None

    def _application(self, login: Login | None, hosts: Collection[str]) -> "ASGIApp":
        """Gradio's page within FastAPI, behind the limits, and behind the login if there is one."""
        import gradio as gr
        from fastapi import FastAPI

        from lab_utils.app.frontend import PAGE, part
        from lab_utils.app.login import LoginFirst
        from lab_utils.app.routes import GradioRoutes, add_one_step_calls, inputs_of
        from lab_utils.middleware import RequestLimits

        inputs = inputs_of(self.page)
        app = FastAPI(openapi_url=None)
        add_one_step_calls(app, self.functions, inputs)
        gr.mount_gradio_app(
            app,
            self.page,
            path="/",
            server_name=LOOPBACK,
            server_port=self.server_port,
            # style.css sets the colours. A theme's own fonts may be fetched from elsewhere.
            theme=gr.themes.Base(
                primary_hue="teal",
                neutral_hue="stone",
                font=("system-ui", "sans-serif"),
                font_mono=("ui-monospace", "monospace"),
            ),
            css_paths=[PAGE / "style.css"],
            head=part("head.html"),
            footer_links=["api"],
            run_history=False,
            enable_monitoring=False,
            show_error=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            max_file_size=MAX_UPLOAD_BYTES,
            allowed_paths=[str(SAMPLE_PAGES)],
        )
        served = RequestLimits(GradioRoutes(app, inputs), most_bytes=MAX_REQUEST_BYTES, hosts=hosts)
        return LoginFirst(served, login, hosts) if login else served

    def _shared(self) -> str:
        from gradio import networking

        try:
            return networking.setup_tunnel(
                local_host=LOOPBACK,
                local_port=self.server_port,
                share_token=secrets.token_urlsafe(32),
                share_server_address=None,
                share_server_tls_certificate=None,
            )
        except Exception as error:  # of the network, the download and the program
            logging.getLogger(__name__).debug("no public link", exc_info=error)
            self.close()
            raise ServerError(
                "No public link could be made, since Gradio's server was not reached; check "
                "the network, or leave out --share to serve this machine only."
            ) from None


def serve(frontend: Frontend, **options: Any) -> None:
    """Serves the app until Ctrl-C, SIGTERM or SIGHUP, after one line with its address on stdout.

    `options` are those of `Frontend.launch`. Raises ServerError as it does, and KeyboardInterrupt
    at Ctrl-C, once all is closed.
    """
    with orderly_end(), closing(frontend):
        _, url, link = frontend.launch(inline=False, **options)
        print(f"The app: {link or url} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()


def _is_not_of_the_end(record: logging.LogRecord) -> bool:
    """Leaves out what uvicorn logs of the streams that it cuts off when the server ends."""
    cut_off = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not (cut_off or str(record.msg).startswith("Cancel "))


def _show_inline(url: str, port: int, height: int) -> None:
    """Shows the page below the cell."""
    from lab_utils.setup.project import on_colab

    if on_colab():
        from google.colab import output

        output.serve_kernel_port_as_iframe(port, height=str(height))
        return
    from IPython.display import HTML, display

    display(HTML(f'<iframe src="{url}" width="100%" height="{height}" title="The app"></iframe>'))
