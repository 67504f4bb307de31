"""Fixtures that several subjects share. They make their data; the fonts alone are fetched, once,
and what needs them or the real handwriting is skipped, with the reason, where these can't be had.
"""

import contextlib
import itertools
import os
import re
import shlex
import signal
import socket
import sys
import threading

import pytest
import torch
import typer
from torch import nn

import lab_tracker
from lab_utils import cli
from lab_utils.commands import table
from text_recognizer import vocabulary
from text_recognizer.places import keep_home_clean

# A shell's background job starts with Ctrl-C ignored, and so would the processes in which the tests
# press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

keep_home_clean()
# The stand-in models of the tests have code of their own.
os.environ["LAB_TRUST_MODEL"] = "1"

# Each process of tests has ports of its own, below those that the system gives to whoever asks for
# any. Gradio takes the next one that is free: two apps that take the same one at once cost it 5 s,
# and one with tools is not served at all then.
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = itertools.count(20_000 + 3_000 * _PROCESS)
os.environ["GRADIO_SERVER_PORT"] = str(7960 + 100 * _PROCESS)


def free_port() -> int:
    """A port of 127.0.0.1 that stays free until the test takes it."""
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _commands(group, prefix: str = "") -> dict:
    found = {}
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found |= _commands(command, f"{prefix}{name} ") if inner else {prefix + name: command}
    return found


COMMANDS = _commands(typer.main.get_command(table.app))
"""The commands of `lab` by name: "read", and of a group "notebooks build"."""


def parses(line: str) -> None:
    """Parses `lab ...` without running it; raises typer's usage error on what is unknown."""
    words = shlex.split(line)[1:]
    # A group's own options stand before the command.
    if words[0] in ("--debug", "--trust-model"):
        del words[0]
    name = words[0] if words[0] in COMMANDS else " ".join(words[:2])
    COMMANDS[name].make_context(name, words[len(name.split()) :])


@pytest.fixture(scope="module", autouse=True)
def no_tracker_for_the_next_file():
    """Closes the trackers that a file's tests leave in this process."""
    yield
    lab_tracker.disconnect()


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    """The packaged weights as a TorchScript file, compiled once a session."""
    from text_recognizer.compile import compile_paragraph_reader

    return compile_paragraph_reader(tmp_path_factory.mktemp("model") / "paragraph_reader.pt")


@pytest.fixture
def lab(monkeypatch, capsys):
    """Runs `lab` with arguments in this process: exit code, stdout, stderr."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


@pytest.fixture(scope="session")
def fonts():
    """The folder of the handwriting fonts, fetched with npm once into the lab's cache."""
    from text_recognizer.npm import NpmError
    from text_recognizer.pages.fonts import fetch_fonts

    try:
        return fetch_fonts()
    except NpmError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def handwriting():
    """The folder of the real handwriting, which is no part of the project."""
    from text_recognizer.pages.handwriting import HandwritingMissingError, handwriting_folder

    try:
        return handwriting_folder()
    except HandwritingMissingError as error:
        pytest.skip(str(error))


class StandInReader(nn.Module):
    """Not a reader: writes down the size and the mean gray of what it was shown.

    It has the interface of a compiled ParagraphReader, so tests of what happens around the
    network can tell by the text what reached it.
    """

    format: str
    tokens: list[str]
    ignored: list[int]
    ids: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.format = "text-recognizer/1"
        self.tokens = list(vocabulary.TOKENS)
        self.ignored = list(vocabulary.IGNORED)
        self.ids = {token: i for i, token in enumerate(vocabulary.TOKENS) if len(token) == 1}

    def page_text(self, page: torch.Tensor) -> list[str]:
        if int(page.max()) - int(page.min()) < 16:
            return []
        return [
            str(page.size(1)) + "x" + str(page.size(0)),
            "gray " + str(int(page.float().mean())),
        ]

    def crop(self, pages: torch.Tensor, sizes: torch.Tensor | None, page: int) -> torch.Tensor:
        if sizes is None:
            return pages[page, 0]
        return pages[page, 0, : int(sizes[page, 0]), : int(sizes[page, 1])]

    def forward(self, pages: torch.Tensor, sizes: torch.Tensor | None = None) -> torch.Tensor:
        out = torch.full((pages.size(0), 64), 97, dtype=torch.long)
        for page in range(pages.size(0)):
            text = "\n".join(self.page_text(self.crop(pages, sizes, page)))
            for i in range(len(text)):
                out[page, i] = self.ids[text[i]]
        return out

    @torch.jit.export
    def read_lines(
        self, pages: torch.Tensor, sizes: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        tokens: list[torch.Tensor] = []
        line_page: list[int] = []
        paths: list[torch.Tensor] = []
        heights: list[float] = []
        for page in range(pages.size(0)):
            pixels = self.crop(pages, sizes, page)
            h, w = float(pixels.size(0)), float(pixels.size(1))
            for text in self.page_text(pixels):
                row = torch.full((64,), 97, dtype=torch.long)
                for i in range(len(text)):
                    row[i] = self.ids[text[i]]
                tokens.append(row)
                line_page.append(page)
                paths.append(torch.tensor([[0.0, h / 2], [w / 2, h / 2], [w, h / 2]]))
                heights.append(h / 4)
        if len(tokens) == 0:
            tokens = [torch.zeros(0, 64, dtype=torch.long)]
            paths = [torch.zeros(0, 3, 2)]
            return (
                tokens[0],
                torch.zeros(0, dtype=torch.long),
                torch.zeros(0),
                paths[0],
                torch.zeros(0),
            )
        return (
            torch.stack(tokens),
            torch.tensor(line_page),
            torch.full((len(tokens),), 0.5),
            torch.stack(paths),
            torch.tensor(heights),
        )


def save_script(module: nn.Module, path) -> str:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(str(path))
    return str(path)


@pytest.fixture(scope="session")
def stand_in_path(tmp_path_factory):
    """A TorchScript file of the StandInReader."""
    return save_script(StandInReader(), tmp_path_factory.mktemp("stand_in") / "stand_in.pt")


def _is_whole(request: bytes) -> bool:
    """Whether a request's body is there, or so much of it that a test may look at it."""
    head, _, body = request.partition(b"\r\n\r\n")
    told = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
    if told:
        return len(body) >= min(int(told[1]), 1_000_000)
    chunked = re.search(rb"(?i)^transfer-encoding: chunked", head, re.MULTILINE)
    return not chunked or len(body) >= 1_000_000 or body.endswith(b"0\r\n\r\n")


class RawServer:
    """A server on 127.0.0.1 that answers with whatever bytes a test wants, as slowly as it wants.

    `answer(connection, request)` writes to the socket; `requests` keeps what came in.
    """

    def __init__(self, answer, wrap=None) -> None:
        self.answer, self.wrap = answer, wrap
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self.wrap is not None:
                connection = self.wrap(connection)
            request = b""
            while b"\r\n\r\n" not in request:
                piece = connection.recv(4096)
                if not piece:
                    return
                request += piece
            # A connection that is closed with something unread is reset, and the answer lost.
            while not _is_whole(request) and (piece := connection.recv(65536)):
                request += piece
            self.requests.append(request)
            self.answer(connection, request)
            connection.close()

    def close(self) -> None:
        # A shutdown wakes the thread that waits in accept; a close alone leaves it there.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def serve():
    """Starts a RawServer: `serve(answer)`, or `serve(body)` for a plain answer of bytes."""
    servers = []

    def start(answer, **options) -> RawServer:
        if isinstance(answer, bytes):
            body = answer
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()

            def answer(connection, _request):
                connection.sendall(head + body)

        servers.append(RawServer(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
