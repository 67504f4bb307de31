"""Which TorchScript file pages are read with, and whether it may be loaded.

Needs the standard library only, so that `lab doctor` and the command line can ask without PyTorch.

TorchScript is code. `torch.jit.load` unpickles no Python objects, but it runs a `__setstate__` that
the file brings, and TorchScript has operators that read and write files. So a file is loaded only
if all of its code is what this version of the lab compiles, or if you say that you trust it: with
`lab --trust-model`, or with LAB_TRUST_MODEL=1 in the environment.
"""

import hashlib
import io
import json
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from text_recognizer.errors import ModelFileError
from text_recognizer.files import replacing, sha256
from text_recognizer.places import lab_folder, project_folder

FILE = "paragraph_reader.pt"
TRUST = "LAB_TRUST_MODEL"
KNOWN_CODE = Path(__file__).with_name("model_code.json")
"""SHA-256 of each code file of the packaged model, by `python -m text_recognizer.compile`."""
MAX_EXPANSION = 4
_BROKEN = (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, zlib.error, RuntimeError)
"""What `zipfile` raises for archives that are damaged or encrypted."""
_CONSTANT = re.compile(rb"  \w+ : Final\[")
DIGESTS = "digests.json"
"""Beside the weights: the SHA-256 of each of their files, written by the same command."""

Say = Callable[[str], None]


def is_as_noted(path: Path) -> bool:
    """Whether a file is the one whose digest is noted beside it; true where none is noted."""
    noted = path.with_name(DIGESTS)
    return not noted.is_file() or json.loads(noted.read_text()).get(path.name, "") == sha256(path)


def compiled_model_path() -> Path:
    """Where `lab compile` puts the packaged model."""
    return lab_folder() / "models" / FILE


def fetched_model_path() -> Path:
    """Where `lab fetch` and `lab run` put a staged model."""
    return lab_folder() / "staged" / FILE


def say_on_stderr(line: str) -> None:
    """Prints one line of the program about itself."""
    print(f"lab: {line}", file=sys.stderr, flush=True)


def default_model_path(say: Say = say_on_stderr) -> Path:
    """The file that pages are read with if you name none.

    It is the one that LAB_MODEL names, else the one fetched last, else the packaged model, which is
    compiled first if need be. `say` gets a line about which of the last two it is.
    """
    if named := os.environ.get("LAB_MODEL"):
        return Path(named)
    fetched = fetched_model_path()
    if fetched.is_file():
        say(f"reading with the model fetched last, {fetched} (delete it for the packaged one)")
        return fetched
    return packaged_model_path(say)


def packaged_model_path(say: Say = say_on_stderr) -> Path:
    """The packaged model, compiled first if its file is missing, older than its code, or damaged.

    Raises ModelFileError if the packaged weights can't be used.
    """
    path = compiled_model_path()
    if not path.exists():
        why = "compiling the packaged model (once)"
    elif not is_current(path):
        why = "the compiled model is older than its code; compiling it again"
    elif problem(path):
        why = "the compiled model is damaged; compiling it again"
    else:
        say("reading with the packaged model")
        return path
    say(f"{why}: {path}")
    from text_recognizer.compile import compile_paragraph_reader  # needs safetensors

    return compile_paragraph_reader(path)


def is_current(compiled: Path) -> bool:
    """Whether a compiled file is there and newer than the weights and the code it is made from."""
    if not compiled.is_file():
        return False
    code = Path(__file__).parent
    sources = [
        *(project_folder() / "data" / "weights").glob("*.safetensors"),
        *(code / "models").glob("*.py"),
        *(code / name for name in ("compile.py", "vocabulary.py", "weights.py")),
    ]
    newest = max(source.stat().st_mtime for source in sources if source.is_file())
    return compiled.stat().st_mtime > newest


def wrong_weights() -> list[str]:
    """The names of the packaged weights' files that are missing or damaged."""
    folder = project_folder() / "data" / "weights"
    noted = _read_json(folder / DIGESTS) or {DIGESTS: ""}
    files = {name: folder / name for name in noted}
    return [
        name for name, path in files.items() if not path.is_file() or sha256(path) != noted[name]
    ]


def problem(path: Path) -> str | None:
    """What is wrong with an archive of PyTorch's; None if it is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = None if _claims_too_much(archive) else archive.testzip()
            return f"is damaged at {damaged}" if damaged else _claims_too_much(archive)
    except _BROKEN:
        return "is not an archive of PyTorch's"


def _claims_too_much(archive: zipfile.ZipFile) -> str | None:
    """PyTorch compresses code only: members far larger than the file would only fill the memory."""
    claimed = sum(member.file_size for member in archive.infolist())
    if claimed > MAX_EXPANSION * os.fstat(archive.fp.fileno()).st_size + 2**20:
        return "claims to hold far more bytes than it has"
    return None


def checked_archive(path: Path) -> io.BytesIO:
    """The members of a model file, for `torch.jit.load`: whole, and with code that may run.

    PyTorch gets a copy of the very bytes that were looked at. Given the file, it could find other
    code there: it reads a doubtful ZIP archive in its own way.

    Raises ModelFileError if the file is missing or damaged, or has code that is not trusted.
    """
    if not path.is_file():
        raise ModelFileError(f"There is no model file at {path}; {_cure(path)}.")
    try:
        copy, code = _read_archive(path)
    except _BROKEN:
        raise ModelFileError(f"{path} is not a model file or is damaged; {_cure(path)}.") from None
    if os.environ.get(TRUST) != "1" and code - known_code():
        raise ModelFileError(
            f"{path} has code that this version of the lab does not compile. Code in a model file "
            f"can read and write your files. If you trust it, use `lab --trust-model` or {TRUST}=1;"
            f" else {_cure(path)}."
        )
    return copy


def _read_archive(path: Path) -> tuple[io.BytesIO, set[str]]:
    """A copy of an archive and its code's digests; each member is compared with its CRC-32."""
    copy, code = io.BytesIO(), set()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as members:
        if wrong := _claims_too_much(archive):
            raise zipfile.BadZipFile(wrong)
        for member in archive.infolist():
            data = archive.read(member)
            members.writestr(member.filename, data)
            if _is_code(member.filename):
                code.add(_code_digest(data))
    copy.seek(0)
    return copy, code


def _is_code(name: str) -> bool:
    # PyTorch finds a member whatever the case of its name.
    return "code" in name.lower().split("/")[:-1] and not name.endswith(".debug_pkl")


def _code_digest(code: bytes) -> str:
    """The same in every process: without the numbers that PyTorch adds to class names, and whatever
    the order of a class's constants."""
    lines = re.sub(rb"___torch_mangle_\d+\.?", b"", code).splitlines()
    constants = sorted(line for line in lines if _CONSTANT.match(line))
    rest = [line for line in lines if not _CONSTANT.match(line)]
    return hashlib.sha256(b"\n".join([*constants, *rest])).hexdigest()


def trust_model_files() -> None:
    """Lets this process and those that it starts run code in model files that is not the lab's."""
    os.environ[TRUST] = "1"


def known_code() -> set[str]:
    """The code that this version of the lab compiles, here or with the pinned PyTorch."""
    return {digest for path in (KNOWN_CODE, _own_code_path()) for digest in _read_json(path)}


def remember_code(path: Path, record: Path | None = None) -> None:
    """Notes the code of a file that was compiled here: another PyTorch writes other code."""
    _, digests = _read_archive(path)
    if record is None and not digests - known_code():
        return
    record = record or _own_code_path()
    with replacing(record) as partial:
        partial.write_text(json.dumps(sorted(digests), indent=1) + "\n", encoding="utf-8")


def _own_code_path() -> Path:
    return lab_folder() / "models" / "code.json"


def _read_json(path: Path) -> Any:
    """What a file that the lab wrote holds; an empty list if it can't be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []


def _cure(path: Path) -> str:
    """What to do about a file that can't be used."""
    if path == fetched_model_path():
        return "fetch it again with `lab fetch`, or delete it"
    return "make one with `lab compile`"
