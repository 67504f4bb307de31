"""One way for each thing: what a new contributor can't know is said here, with where to look.

Each rule looks at the syntax trees of the packages. To use another way in one place, give it an
entry with the reason in `ALLOWED`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("text_recognizer", "lab_utils", "lab_tracker", "lab_authoring")
LIBRARIES = ("gradio", "torch", "ray", "pyngrok")

PRIVATE_MODULE = re.compile(rf"({'|'.join(LIBRARIES)})(\.\w+)*\._\w+")

CURES = {
    "http client": "use lab_utils.net.http_client",
    "whole file": "use text_recognizer.files.replacing",
    "listening": "use lab_tracker.serving.listening_socket or lab_utils.net.free_port",
    "child process": "use lab_utils.process.kept or start_kept",
    "private": "use the library's public interface",
    "upward": "text_recognizer and lab_tracker import nothing of ours, lab_utils no lab_authoring",
}
CLIENTS = {"urllib.request", "http.client", "requests", "urllib3", "aiohttp"}
WHOLE_FILE = {"os.replace", "os.rename", "tempfile.mkstemp"}
HTTPX = {"httpx.Client", "httpx.AsyncClient", "httpx.get", "httpx.post", "httpx.request"}
ABOVE = {
    "text_recognizer": ("lab_utils", "lab_tracker", "lab_authoring"),
    "lab_tracker": ("lab_utils", "lab_authoring"),
    "lab_utils": ("lab_authoring",),
}

ALLOWED = {
    ("http client", "lab_utils/net.py"): "this is the one way",
    ("whole file", "text_recognizer/files.py"): "this is the one way",
    ("child process", "lab_utils/process.py"): "this is the one way",
    ("http client", "text_recognizer/fetching.py"): "connects to the very address it has checked",
    ("http client", "lab_utils/staging/tracker.py"): "catches the errors of wandb's own client",
    ("child process", "text_recognizer/decoding.py"): "ends when its standard input closes",
    ("listening", "lab_tracker/serving.py"): "this is the one way",
    ("whole file", "lab_tracker/storage.py"): "moves a blob within the transaction that records it",
    ("private", "text_recognizer/compile_routes.py"): "PyTorch documents AOTInductor so",
    ("upward", "lab_utils/commands/notebooks.py"): "a command: the command line imports everything",
}


def python_files() -> list[Path]:
    return sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def own_private_names() -> frozenset[str]:
    """The names with one leading underscore that our own code defines."""
    found = set()
    for path in python_files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return frozenset(name for name in found if is_private(name))


def is_private(name: str) -> bool:
    """Whether a name is somebody's own; `os._exit` and what a named tuple has are documented."""
    return (
        name.startswith("_")
        and not name.startswith("__")
        and name not in ("_", "_exit", "_fields", "_replace")
    )


def imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports; of `from a import b`, both `a` and `a.b`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def broken_rules(package: str, node: ast.AST) -> Iterator[str]:
    """The rules that a node of a syntax tree breaks."""
    for module in imported(node):
        if module in CLIENTS:
            yield "http client"
        if module in WHOLE_FILE:
            yield "whole file"
        if module in HTTPX:
            yield "http client"
        if module.split(".")[0] in LIBRARIES and any(map(is_private, module.split("."))):
            yield "private"
        if module.split(".")[0] in ABOVE.get(package, ()):
            yield "upward"
    if isinstance(node, ast.Attribute):
        written = ast.unparse(node)
        if written in WHOLE_FILE:
            yield "whole file"
        if written in HTTPX:
            yield "http client"
        if node.attr == "create_server":
            yield "listening"
        if is_private(node.attr) and node.attr not in own_private_names():
            yield "private"
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "subprocess.Popen":
        yield "child process"
    if is_bind(node):
        yield "listening"
    if isinstance(node, ast.Constant) and PRIVATE_MODULE.fullmatch(str(node.value)):
        yield "private"


def is_bind(node: ast.AST) -> bool:
    """Whether a socket is bound; Ray's deployments have a `bind` too, which takes no address."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr == "bind" and any(isinstance(one, ast.Tuple) for one in node.args)


def violations(path: Path) -> Iterator[tuple[str, int]]:
    """The broken rules of a file, with their lines."""
    package = path.relative_to(ROOT).parts[0]
    for node in ast.walk(tree(path)):
        for rule in broken_rules(package, node):
            yield rule, getattr(node, "lineno", 0)


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_uses_the_one_way(path):
    name = str(path.relative_to(ROOT))
    found = [
        f"{name}:{line}: {CURES[rule]}, or say why not in ALLOWED of tests/test_one_way.py"
        for rule, line in violations(path)
        if (rule, name) not in ALLOWED
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import urllib.request", "http client"),
        ("from urllib import request", "http client"),
        ("httpx.get('http://127.0.0.1')", "http client"),
        ("os.replace(a, b)", "whole file"),
        ("from tempfile import mkstemp", "whole file"),
        ("socket.create_server(('127.0.0.1', 0))", "listening"),
        ("subprocess.Popen(['sh'])", "child process"),
        ("demo._queue_that_is_gradios.clear()", "private"),
        ("import torch._dynamo", "private"),
        ("sys.modules['torch._meta_registrations'] = None", "private"),
        ("from lab_authoring import build", "upward"),
    ],
)
def test_each_mistake_is_found(code, rule):
    found = [one for node in ast.walk(ast.parse(code)) for one in broken_rules("lab_utils", node)]
    assert set(found) == {rule}
