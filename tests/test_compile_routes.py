"""The ways out of Python: each says what it did, prints nothing, and leaves nothing behind."""

import os
import shutil
import sys

import pytest
import torch
from conftest import python

from text_recognizer import compile_routes as routes
from text_recognizer.compile import script_paragraph_reader
from text_recognizer.errors import RecognizerError
from text_recognizer.models.line_finder import LineFinder
from text_recognizer.models.line_reader import LineReader
from text_recognizer.places import SAMPLE_PAGES, project_folder
from text_recognizer.train.sample_lines import page_tensor


@pytest.fixture(scope="module")
def page() -> torch.Tensor:
    return page_tensor(SAMPLE_PAGES / "show_font_004.jpg")


def test_export_of_the_whole_names_our_line(eager, page, capfd):
    outcome = routes.export_whole(eager, page)
    assert outcome.result == routes.FAILS and outcome.size is None
    note = outcome.note.removeprefix("depends on the data: ")
    assert note != outcome.note, outcome.note
    line, _, file = note.removesuffix(")").rpartition(" (")
    code = (project_folder() / "text_recognizer" / "models" / file).read_text()
    assert line in code
    assert capfd.readouterr() == ("", "")


@pytest.mark.nightly
def test_the_line_reader_is_exported_for_any_number_and_width(eager):
    outcome = routes.export_line_reader(eager.reader)
    assert outcome.result == routes.WORKS, outcome.note
    assert outcome.difference < 1e-4 and outcome.size > 12e6


@pytest.mark.nightly
def test_onnx_takes_the_line_reader_and_refuses_the_whole(eager, page, capfd):
    pytest.importorskip("onnxruntime")
    outcome = routes.onnx_line_reader(eager.reader)
    assert outcome.result == routes.WORKS, outcome.note
    assert outcome.difference < 1e-2 and outcome.size > 12e6
    whole = routes.onnx_whole(eager, page)
    assert whole.result == routes.FAILS and whole.note
    assert capfd.readouterr() == ("", ""), "the exporter prints the whole graph"


def test_onnx_runtime_leaves_nothing_at_home(tmp_path):
    pytest.importorskip("onnxruntime")
    code = "from text_recognizer import places; places.keep_home_clean(); import onnxruntime"
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(project_folder())}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    done = python(code, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())


def test_onnx_is_not_asked_about_a_page_without_lines(eager):
    """The exporter divides by their number, and takes the process with it."""
    with pytest.raises(ValueError, match="page with at least one line"):
        routes.onnx_whole(eager, torch.full((1, 1, 200, 300), 255, dtype=torch.uint8))


def test_without_a_compiler_the_row_says_what_is_missing(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    outcome = routes.aotinductor_line_finder(LineFinder())
    assert outcome.result == routes.MISSING and "no-such-compiler" in outcome.note


@pytest.mark.nightly
def test_aotinductor_compiles_the_finder(eager, monkeypatch):
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("there is no C++ compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "as it was")
    outcome = routes.aotinductor_line_finder(eager.finder)
    assert outcome.result == routes.WORKS, outcome.note
    assert outcome.difference < 1e-3 and outcome.size > 1e6
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "as it was"


def test_the_output_comes_back_after_a_route(capfd):
    class Loud(LineReader):
        def forward(self, strips, widths=None):
            os.write(1, b"from C++")
            print("from Python")
            raise RuntimeError("no")

    outcome = routes.export_line_reader(Loud())
    assert outcome.result == routes.FAILS
    print("heard")
    assert capfd.readouterr() == ("heard\n", "")


def test_a_python_without_torchscript_is_named(eager, monkeypatch):
    def unsupported(module):
        raise RuntimeError("cannot compile this")

    monkeypatch.setattr(torch.jit, "script", unsupported)
    with pytest.raises(RuntimeError):
        script_paragraph_reader(eager)
    monkeypatch.setattr(sys, "version_info", (3, 14))
    with pytest.raises(RecognizerError, match=r"Python 3\.14 or newer: use Python 3\.13"):
        script_paragraph_reader(eager)
