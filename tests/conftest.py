"""What several subjects share. Fixtures make their data; the fonts alone are fetched, once, and
what needs them or the real handwriting is skipped, with the reason, where these can't be had.
"""

import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import text_recognizer  # noqa: F401  # before PyTorch: its threads shall sleep while they wait

# isort: split
import psutil
import pytest
import torch
import typer
from app_serving import serving
from torch import nn

import lab_tracker
from lab_utils import cli
from lab_utils.commands import table
from text_recognizer import vocabulary
from text_recognizer.places import PROJECT, keep_home_clean

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


def until(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Waits for a condition; whether it holds within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def ran(*command, **options) -> subprocess.CompletedProcess:
    """Runs a command to its end; keeps what it prints."""
    kept = {"cwd": PROJECT, "capture_output": True, "text": True, "timeout": 300}
    return subprocess.run([*map(str, command)], **kept | options)


def python(code: str, *arguments, **options) -> subprocess.CompletedProcess:
    """Runs a program in a Python of its own that finds the project; keeps what it prints."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return ran(sys.executable, "-c", code, *arguments, **{"env": environment} | options)


def lab_process(*arguments, **options) -> contextlib.AbstractContextManager[subprocess.Popen]:
    """`lab` with arguments as a `python_process`."""
    return python_process("-m", "lab_utils.cli", *arguments, **options)


@contextlib.contextmanager
def python_process(*arguments, variables=None, **options) -> Iterator[subprocess.Popen]:
    """Python with arguments and further variables as a process with pipes, ended at the end."""
    process = subprocess.Popen(
        [sys.executable, "-u", *map(str, arguments)],
        **dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        | {"env": os.environ | {"PYTHONPATH": str(PROJECT)} | (variables or {})}
        | {"stdin": subprocess.DEVNULL, "text": True}
        | options,
    )
    try:
        yield process
    finally:
        process.kill()
        # Where a test has failed, a child of it may still hold the pipes.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=60)


def program(path: Path, script: str) -> None:
    """Puts a program there that runs a script of the shell, mostly a stand-in for another one."""
    path.write_text(f"#!{shutil.which('sh')}\n{script}\n")
    path.chmod(0o755)


def processes_with(variable: str, beginning: str) -> dict[int, list[str]]:
    """The command of every other process in whose environment a variable begins so, by its id."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            has_it = process.environ().get(variable, "").startswith(beginning)
            if has_it and process.pid != os.getpid():
                found[process.pid] = process.cmdline()
    return found


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


@pytest.fixture(scope="session")
def packaged(model_path):
    """The recognizer with the packaged weights."""
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    return ParagraphTextRecognizer(model_path)


@pytest.fixture(scope="session")
def eager():
    """The packaged network as a module, not compiled."""
    from text_recognizer.weights import load_paragraph_reader

    return load_paragraph_reader()


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


@pytest.fixture
def refused(lab):
    """Runs `lab` with arguments that must be refused: the one line that it prints."""

    def run(*arguments) -> str:
        code, out, err = lab(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("lab: ") and err.count("\n") == 1, err
        return err

    return run


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder for what the lab writes, and no model named."""
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LAB_MODEL", raising=False)
    return tmp_path / "home"


@pytest.fixture
def no_aws(monkeypatch, tmp_path):
    """AWS's tools find no settings and no credentials of the one who runs the tests."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def edge(tmp_path, monkeypatch):
    """ngrok's stand-in; afterwards no process that was started with its variables is left."""
    from tunnel_serving import Edge, resolve_localhost

    edge = Edge(tmp_path)
    resolve_localhost(monkeypatch)
    yield edge
    assert until(lambda: not edge.left(), 20), f"left behind: {edge.left()}"


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

    def row(self, text: str) -> torch.Tensor:
        row = torch.full((64,), 97, dtype=torch.long)
        for i in range(len(text)):
            row[i] = self.ids[text[i]]
        return row

    def forward(self, pages: torch.Tensor, sizes: torch.Tensor | None = None) -> torch.Tensor:
        rows: list[torch.Tensor] = []
        for page in range(pages.size(0)):
            rows.append(self.row("\n".join(self.page_text(self.crop(pages, sizes, page)))))
        return torch.stack(rows)

    @torch.jit.export
    def read_lines(
        self, pages: torch.Tensor, sizes: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        tokens, paths = [torch.zeros(0, 64, dtype=torch.long)], [torch.zeros(0, 3, 2)]
        line_page: list[int] = []
        heights: list[float] = []
        for page in range(pages.size(0)):
            pixels = self.crop(pages, sizes, page)
            h, w = float(pixels.size(0)), float(pixels.size(1))
            for number, text in enumerate(self.page_text(pixels)):
                tokens.append(self.row(text)[None])
                line_page.append(page)
                y = h * (number + 2) / 4
                paths.append(torch.tensor([[[0.0, y], [w / 2, y], [w, y]]]))
                heights.append(h / 4)
        pages_of_lines = torch.tensor(line_page, dtype=torch.long)
        confidences = torch.full((len(line_page),), 0.5)
        return (
            torch.cat(tokens),
            pages_of_lines,
            confidences,
            torch.cat(paths),
            torch.tensor(heights, dtype=torch.float),
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


@pytest.fixture(scope="session")
def app(stand_in_path, tmp_path_factory):
    """(frontend, client) of the app over the stand-in, whose text tells size and gray."""
    from lab_utils.predictors import LocalPredictor

    with serving(LocalPredictor(stand_in_path), tmp_path_factory.mktemp("feedback")) as served:
        yield served


def _is_whole(request: bytes) -> bool:
    """Whether a request's body is there, or so much of it that a test may look at it."""
    head, _, body = request.partition(b"\r\n\r\n")
    told = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
    if told:
        return len(body) >= min(int(told[1]), 1_000_000)
    chunked = re.search(rb"(?i)^transfer-encoding: chunked", head, re.MULTILINE)
    return not chunked or len(body) >= 1_000_000 or body.endswith(b"0\r\n\r\n")


class RawServer(socketserver.ThreadingTCPServer):
    """A server on 127.0.0.1 that answers with whatever bytes a test wants, as slowly as it wants.

    `answer(connection, request)` writes to the socket; `requests` keeps what came in.
    """

    daemon_threads, block_on_close, request_queue_size = True, False, 128

    def __init__(self, answer, wrap=None) -> None:
        super().__init__(("127.0.0.1", 0), None)
        self.answer, self.wrap = answer, wrap
        self.requests: list[bytes] = []
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def finish_request(self, connection: socket.socket, _address) -> None:
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
        self.shutdown()
        self.server_close()


@pytest.fixture(scope="session")
def stand_in(stand_in_path):
    """A recognizer with the StandInReader."""
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    return ParagraphTextRecognizer(stand_in_path)


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
