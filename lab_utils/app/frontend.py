"""The web page over a predictor, and its API, as one Gradio application.

Every event of the page can be called by whoever reaches the server, not only by the page; so all
of them pass the same check, and what they raise is always a sentence for the user.
"""

import logging
import os
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from lab_utils.app import layout, names
from lab_utils.app.cache import cache_folder, use_cache_folder
from lab_utils.app.events import Events, InternalError, ReaderAwayError
from lab_utils.app.feedback import FeedbackFolder
from lab_utils.app.gate import BusyError, Gate
from lab_utils.app.guard import ANY_HOST, Guard, invalid_request, leave_status, refused_request
from lab_utils.app.limits import (
    CACHE_CHECK_SECONDS,
    CACHE_SECONDS,
    MAX_SESSIONS,
    MAX_UPLOAD_BYTES,
    QUEUE_SIZE,
    READERS,
)
from lab_utils.app.pictures import check_payload
from lab_utils.app.theme import lab_theme
from text_recognizer.errors import ImageTooLargeError, RecognizerError
from text_recognizer.places import SAMPLE_PAGES, lab_folder

if TYPE_CHECKING:
    from lab_utils.predictors import Predictor

_log = logging.getLogger(__name__)
_FORM = 'The request is not of this endpoint\'s form; send {"data": [IMAGE]} with one image.'


def make_frontend(
    predictor: "Predictor",
    *,
    flagging_dir: str | os.PathLike | None = None,
    queue_size: int = QUEUE_SIZE,
    readers: int = READERS,
    title: str = "Handwriting reader",
) -> "Frontend":
    """Returns the app over a predictor; `.launch()` serves it, `.close()` ends that.

    Args:
        predictor: what reads; called from `readers` threads.
        flagging_dir: folder for the feedback; else `.lab/feedback`.
        queue_size: pages that may wait while `readers` are being read; who comes later is told
            to come again.
        readers: pages that are read at once.
        title: the page's heading and the browser tab's name.
    """
    folder = Path(flagging_dir) if flagging_dir is not None else lab_folder() / "feedback"
    use_cache_folder()
    events = Events(predictor, FeedbackFolder(folder), Gate(readers, queue_size))
    return Frontend(events, title)


class Frontend(gr.Blocks):
    """The page and the two named endpoints over a predictor; see `make_frontend`."""

    def __init__(self, events: Events, title: str) -> None:
        super().__init__(
            title=title,
            analytics_enabled=False,
            delete_cache=(CACHE_CHECK_SECONDS, CACHE_SECONDS),
        )
        self.functions = events
        with self:
            parts = layout.build(title)
            self._add_endpoints()
            self._add_events(parts)
        # The gate bounds what is read and what waits; Gradio's queue only passes events on.
        self.queue(max_size=None, default_concurrency_limit=None)
        # After each event, it would draw up statistics of the last 10,000, which nobody sees here.
        self._queue.ANALYTICS_MAX_EVENTS = 100
        self._queue.ANAYLTICS_CACHE_FREQUENCY = sys.maxsize  # Gradio's spelling
        self._queue.pending_messages_per_session.max_size = MAX_SESSIONS

    def launch(self, *args: Any, hosts: Collection[str] | None = None, **options: Any) -> Any:
        """Serves the app as `gradio.Blocks.launch`, with these defaults of its own.

        On 127.0.0.1; no public link unless `share=True`, also on Colab; requests of bounded size;
        no monitoring, no history, and a footer of the page's own.

        Args:
            hosts: names under which browsers reach the app, besides localhost and addresses in
                numbers; "*" for any. None: any where a tunnel or a hosted notebook's proxy chooses
                the name (`share=True`, Colab, ...) or another address than this machine's own is
                listened on, else no more.
        """
        settings: dict[str, Any] = {
            "share": False,
            "server_name": "127.0.0.1",
            "quiet": True,
            "theme": lab_theme(),
            "css_paths": [layout.STYLE],
            "head": layout.part("head.html"),
            "footer_links": ["api"],
            "run_history": False,
            "enable_monitoring": False,
            "max_file_size": MAX_UPLOAD_BYTES,
            "state_session_capacity": MAX_SESSIONS,
            "ssr_mode": False,
            "pwa": False,
            "mcp_server": False,
        }
        settings |= options
        if settings["mcp_server"] and settings.get("auth"):
            raise _PasswordError(
                "Gradio lets tools in without a password; use tools or a password."
            )
        settings["allowed_paths"] = [*settings.get("allowed_paths", ()), str(SAMPLE_PAGES)]
        if hosts is None:
            hosts = (ANY_HOST,) if _name_is_unknown(settings) else ()
        settings.setdefault("app_kwargs", _app_options(hosts))
        return super().launch(*args, **settings)

    def close(self, verbose: bool = False) -> None:
        """Ends the server; a page that is being read is read to its end."""
        super().close(verbose)

    async def process_api(
        self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any
    ) -> dict[str, Any]:
        """Gradio's way of any event: what clients send is checked before, errors are told after."""
        fn = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        request = options.get("request")
        scope = getattr(getattr(request, "request", None), "scope", None)
        try:
            _check_count(fn, inputs)
            check_payload(inputs, cache_folder())
            return await super().process_api(fn, inputs, *args, **options)
        except gr.Error:
            raise
        except RecognizerError as error:
            leave_status(scope, _status(error))
            raise gr.Error(str(error), print_exception=False) from None
        except Exception as error:
            # Gradio's own message may hold the whole request, so the kind is all that is told.
            _log.warning("a request to %s was refused: %s", fn.api_name, type(error).__name__)
            _log.debug("where it was refused", exc_info=True)
            leave_status(scope, 422)
            raise gr.Error(_FORM, print_exception=False) from None
        finally:
            _forget(fn, options.get("state"))

    def _add_endpoints(self) -> None:
        with gr.Group(visible=False):
            image, text = layout.endpoint_parts()
            gr.Button().click(
                self.functions.predict,
                image,
                text,
                api_name=names.PREDICT,
                preprocess=False,
                concurrency_limit=None,
            )
        gr.api(self.functions.predict_base64, api_name=names.PREDICT_BASE64, concurrency_limit=None)

    def _add_events(self, parts: layout.Parts) -> None:
        shown = [
            parts.text,
            parts.message,
            parts.found,
            parts.feedback,
            parts.key,
            parts.correction,
            parts.feedback_message,
        ]
        private: dict[str, Any] = {
            "api_visibility": "private",
            "concurrency_limit": None,
            "preprocess": False,
        }
        read = private | {"outputs": shown, "show_progress_on": parts.text}
        show = layout.part("result.js")
        parts.read.click(self.functions.read, parts.image, **read).then(js=show)
        parts.read_drawing.click(
            self.functions.read_drawing, parts.drawing, js=layout.TAKE_DRAWING, **read
        ).then(js=show)
        for path, button in parts.samples.items():
            button.click(partial(str, path), None, parts.image, **private).then(
                self.functions.read, parts.image, **read
            ).then(js=show)
        parts.send.click(
            self.functions.keep_feedback,
            [parts.key, parts.correction],
            parts.feedback_message,
            js=layout.TAKE_CORRECTION,
            **private,
        )


class _PasswordError(RecognizerError):
    """A password was asked for where Gradio would not ask for it."""


class _FormError(RecognizerError):
    """The request has not the inputs that the endpoint takes."""


def _check_count(fn: Any, inputs: Any) -> None:
    if not isinstance(inputs, list) or len(inputs) != len(fn.inputs):
        raise _FormError(_FORM)


def _forget(fn: Any, state: Any) -> None:
    """Lets go of the inputs, which Gradio would keep with the session: images of many MB."""
    values = getattr(state, "config_values", {})
    for block in fn.inputs:
        values.pop(block._id, None)


def _status(error: RecognizerError) -> int:
    if isinstance(error, BusyError | ReaderAwayError):
        return 503
    if isinstance(error, InternalError):
        return 500
    return 413 if isinstance(error, ImageTooLargeError) else 422


def _name_is_unknown(settings: dict[str, Any]) -> bool:
    from gradio import utils

    return bool(
        settings["share"]
        or settings["server_name"] not in ("127.0.0.1", "localhost", "::1", "[::1]")
        or utils.colab_check()
        or utils.is_hosted_notebook()
    )


def _app_options(hosts: Collection[str]) -> dict[str, Any]:
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware

    return {
        "middleware": [Middleware(Guard, hosts=hosts)],
        "exception_handlers": {
            RequestValidationError: invalid_request,
            HTTPException: refused_request,
        },
    }
