"""Building notebooks: an edit stays where it is, what differs between runs or machines is refused,
and `check` sees every difference. A kernel takes seconds to start: one build serves many tests."""

import difflib
import json
import re
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest
from conftest import python_process, ran, until

import lab_utils.setup
from lab_authoring.build import build, check_notebooks, find_sources
from lab_authoring.contract import SourceError
from lab_authoring.kernel import run_notebook
from lab_authoring.source import read_source, student_notebook
from lab_authoring.template import new_notebook
from lab_authoring.wording import wording_problems
from text_recognizer.errors import RecognizerError

ROOT = Path(__file__).resolve().parents[1]
SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"

# Prints in pieces, shows a plot, prints the time in a timed cell, has two cells that are the same,
# a picture in whose base64 the letters of a path come up by chance, and says which Python runs it.
LIVELY = """\
# %%
import random
import sys
import time

for i in range(20):
    print(i)
    sys.stdout.flush()

# %%
from matplotlib.figure import Figure

from lab_utils.figures import show

figure = Figure(figsize=(3, 2))
figure.subplots().plot([1, 3, 2])
show(figure, caption="Figure 1. A line.", alt="It goes up, then down.")

# %% tags=["timing"]
print(time.time())

# %%
print("own Python:", sys.executable == "PYTHON")

# %%
# !echo from a command

# %% tags=["raises-exception"]
raise ValueError("the lesson")

# %%
print("after it")

# %%
1

# %%
1

# %%
from IPython.display import HTML

HTML('<img src="data:image/png;base64,/tmp/tmp/">')

""".replace("PYTHON", sys.executable)


def set_up_cell(project: Path) -> str:
    """A set-up cell that finds the checks and solutions of a notebook that isn't the lab's."""
    return f"""\
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
import lab_utils.lessons.official
lab_utils.lessons.official.PROJECT = Path({str(project)!r})
lab_utils.lessons.__path__.append({str(project / "lab_utils" / "lessons")!r})
"""


def start_project(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A project with the template's notebook 08_tiny in it, whose user has another python3."""
    new_notebook("08_tiny", "Tiny", folder)
    code = set_up_cell(folder)
    patch.setattr("lab_utils.setup.setup_cell", lambda: code)
    patch.setattr("lab_utils.setup.badge", lambda name: f"[badge of {name}]")
    patch.setenv("LAB_HOME", str(folder / "lab"))
    kernel = folder / "lab" / "jupyter" / "data" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    spec = {"argv": ["false"], "display_name": "Python 3", "language": "python"}
    kernel.write_text(json.dumps(spec))
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A new project; nothing is built yet."""
    return start_project(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def built_once(tmp_path_factory):
    """A project with the lively cells, built; tests get a copy of it as `built_project`."""
    with pytest.MonkeyPatch.context() as patch:
        folder = start_project(tmp_path_factory.mktemp("built"), patch)
        insert(folder, LIVELY)
        built(folder)
        yield folder


@pytest.fixture
def built_project(built_once, tmp_path) -> Path:
    return shutil.copytree(built_once, tmp_path / "project")


def source_file(project: Path) -> Path:
    return project / "notebooks" / "source" / "08_tiny.py"


def insert(project: Path, cells: str, before: str = "# %% [markdown]\n# ## Summary") -> None:
    text = source_file(project).read_text()
    assert before in text
    source_file(project).write_text(text.replace(before, cells + before))


def built(project: Path) -> tuple[bytes, bytes]:
    """The bytes of the student's notebook and of the solution, built now."""
    build(read_source(source_file(project)))
    return files_of(project)


def files_of(project: Path) -> tuple[bytes, bytes]:
    source = read_source(source_file(project))
    return source.student_path.read_bytes(), source.solution_path.read_bytes()


def cells_of(notebook: bytes) -> list[dict]:
    return json.loads(notebook)["cells"]


def test_the_student_gets_stubs_and_the_solution_has_outputs(built_project):
    student, solution = map(cells_of, files_of(built_project))
    ids = [cell["id"] for cell in student]
    assert len(set(ids)) == len(ids)
    added = [cell for cell in student if cell["id"] not in {one["id"] for one in solution}]
    assert ["checks.go_on(" in "".join(cell["source"]) for cell in added] == [True] * 3
    assert [c["id"] for c in student if c not in added] == [cell["id"] for cell in solution]
    code = "\n".join("".join(cell["source"]) for cell in student if cell["cell_type"] == "code")
    assert code.count("...  # your code here") == 3
    assert "max(text" not in code and "SOLUTION" not in code
    hints = ["".join(cell["source"]) for cell in student if cell["cell_type"] == "markdown"]
    assert sum("<summary>Solution</summary>" in hint for hint in hints) == 3
    assert "[badge of 08_tiny]" in "".join(student[0]["source"])
    for cell in student:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    run = [cell for cell in solution if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in run] == list(range(1, len(run) + 1))
    assert "SOLUTION" not in json.dumps(solution)
    by_start = {"".join(cell["source"]).split("\n")[0]: cell for cell in run}
    assert by_start["checks.count_lines(count_lines)"]["outputs"][0]["text"][0][0] == "\u2713"
    prints = by_start["import random"]["outputs"]
    assert len(prints) == 1, "what was printed in pieces is one output"
    assert by_start['print("after it")']["outputs"][0]["text"] == ["after it\n"]
    (cell,) = (cell for start, cell in by_start.items() if "own Python" in start)
    assert cell["outputs"][0]["text"] == ["own Python: True\n"], "the user's kernelspec is not used"
    timed = next(cell for cell in run if "timing" in cell["metadata"].get("tags", []))
    assert timed["outputs"] == []
    assert timed["metadata"]["tags"] == ["timing", "nbval-ignore-output"]
    assert all(set(cell["metadata"]) <= {"tags"} for cell in solution[2:])


def test_an_edit_changes_one_cell_and_nothing_else(built_project):
    before = [text.decode().splitlines() for text in files_of(built_project)]
    change(source_file(built_project), "the second is the widest", "it is short")
    after = [text.decode().splitlines() for text in built(built_project)]
    for old, new in zip(before, after, strict=True):
        changed = [line for line in difflib.ndiff(old, new) if line[0] in "+-"]
        assert len(changed) >= 4 and '"id": ' in changed[0]
        texts = ('"id": ', "the second is the widest", "it is short")
        assert all(any(text in line for text in texts) for line in changed), changed


def told_in_one_line(notebook) -> list:
    """The errors of a notebook that was run, each of them a failed check and one line."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    errors = [one for one in outputs if one.output_type == "error" and one.evalue != "the lesson"]
    for error in errors:
        assert error.traceback == [f"CheckFailed: {error.evalue}"], "no traceback"
    return errors


def test_a_student_who_solves_nothing_gets_one_line_for_each_exercise(project):
    source = read_source(source_file(project))
    notebook = run_notebook(student_notebook(source), source.student_path.parent, cell_timeout=300)
    assert len(told_in_one_line(notebook)) == 3


REFUSED = {
    "import random\nprint(random.randbytes(600_000).hex())": "smaller",
    "print(object())": "memory address",
    "import os\nprint(os.getcwd())": "path of this machine",
    "import warnings\nwarnings.warn('old')": "stderr",
    "from IPython.display import display\n"
    "display({'application/vnd.jupyter.widget-view+json': {}}, raw=True)": "widget",
}


def test_outputs_that_a_notebook_may_not_show_are_refused_with_their_places(project):
    insert(project, "".join(f"# %%\n{code}\n\n" for code in REFUSED))
    problems = problems_of_build(project)
    lines = source_file(project).read_text().split("\n")
    assert len(problems) == len(REFUSED)
    for problem, (code, message) in zip(problems, REFUSED.items(), strict=True):
        line = lines.index(code.split("\n")[0])
        assert problem.startswith(f"{source_file(project)}:{line}: cell ")
        assert message in problem and "\n" not in problem


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("{}['key']", "KeyError"),
        pytest.param("import os\nos._exit(1)", "ended the kernel", marks=pytest.mark.nightly),
        pytest.param("import time\ntime.sleep(90)", "than 4 s", marks=pytest.mark.nightly),
    ],
)
def test_a_cell_that_fails_is_named_with_its_place(project, monkeypatch, code, message):
    monkeypatch.setattr("lab_authoring.build.CELL_TIMEOUT", 4.0 if "sleep" in code else 60.0)
    insert(project, f"# %%\n{code}\n\n")
    (problem,) = problems_of_build(project)
    line = source_file(project).read_text().split("\n").index(code.split("\n")[0])
    assert problem.startswith(f"{source_file(project)}:{line}: cell ") and message in problem


def problems_of_build(project: Path) -> list[str]:
    """What a build complains of; it writes nothing then."""
    source = read_source(source_file(project))
    with pytest.raises(SourceError) as error:
        build(source)
    assert not source.student_path.exists()
    assert list(source.solution_path.parent.iterdir()) == []
    return error.value.problems


# Running a build as a process

BUILD = """\
import sys
from pathlib import Path

from lab_utils import cli
from lab_authoring import source

source.SOURCES = Path(sys.argv.pop(1))
import lab_utils.setup
lab_utils.setup.setup_cell = lambda: Path(sys.argv[0]).with_suffix(".cell").read_text()
cli.main()
"""


def test_an_interrupt_leaves_the_old_files_and_no_kernel_and_nothing_in_the_home_folder(
    built_project, tmp_path
):
    before, pid_file = files_of(built_project), tmp_path / "pid"
    insert(
        built_project,
        "# %%\nimport os\nimport time\nfrom pathlib import Path\n\n"
        f"Path({str(pid_file)!r}).write_text(str(os.getpid()))\ntime.sleep(60)\n\n",
        before="# %% [markdown]\n# ### Exercise 1",
    )
    home, lab = tmp_path / "home", built_project / "lab"
    home.mkdir()
    (tmp_path / "lab.py").write_text(BUILD)
    (tmp_path / "lab.cell").write_text(lab_utils.setup.setup_cell())
    own = {"HOME": str(home), "LAB_HOME": str(lab)}
    command = (tmp_path / "lab.py", source_file(built_project).parent, "notebooks", "build")
    with python_process(*command, variables=own) as process:
        assert until(lambda: pid_file.exists() and pid_file.read_text())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert [*home.iterdir(), *(lab / "jupyter" / "runtime").iterdir()] == []
    pid = int(pid_file.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert files_of(built_project) == before
    assert len(list((built_project / "notebooks" / "solutions").iterdir())) == 1


# Which sources


def test_sources_are_named_by_number_or_name(project):
    new_notebook("09_more", None, project)
    folder = source_file(project).parent
    tiny, more = folder / "08_tiny.py", folder / "09_more.py"
    assert find_sources([], folder) == [tiny, more]
    for name in ("8", "08_tiny", "notebooks/source/08_tiny.py"):
        assert find_sources([name], folder) == [tiny]
    assert find_sources(["09", "9", "08"], folder) == [tiny, more]
    with pytest.raises(RecognizerError, match="no notebook 10.*08_tiny, 09_more"):
        find_sources(["10"], folder)


# Check


def problems_of(project: Path) -> list[str]:
    return check_notebooks(source_file(project).parent)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_check_passes_what_was_built(built_project):
    assert problems_of(built_project) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("source/08_tiny.py", "the widest.", "the last.", "is not what"),
        ("08_tiny.ipynb", '"outputs": []', '"outputs":  []', "is not what"),
        ("08_tiny.ipynb", '"cells"', "cells", "is not what"),
        ("solutions/08_tiny.ipynb", "Dear reader", "Dear student", "is not what"),
        ("solutions/08_tiny.ipynb", "after it\\n", "/home/me/x\\n", "path of this machine"),
    ],
)
def test_check_finds_each_difference(built_project, file, old, new, message):
    change(built_project / "notebooks" / file, old, new)
    problems = problems_of(built_project)
    assert any(message in problem for problem in problems), problems
    for problem in problems:
        assert "\n" not in problem
        assert problem.endswith("run `lab notebooks build 08`")


def test_check_tells_missing_and_orphaned_notebooks(built_project):
    folder = built_project / "notebooks"
    (folder / "08_tiny.ipynb").rename(folder / "solutions" / "07_old.ipynb")
    orphan, missing = problems_of(built_project)
    assert missing.endswith("run `lab notebooks build 08`")
    assert "07_old.ipynb: no source makes it" in orphan


def test_check_finds_phrases_that_are_not_plain_english(project):
    insert(project, "# %% [markdown]\n# Whoever reads this gets it.\n\n")
    for path, text in {
        "docs/page.md": "# Page\n\nThe two are parted.\n",
        "lab_utils/code.py": '"""A module.\n\nWritten anew."""\n# To mend: no comment counts.\n',
    }.items():
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_text(text)
    page, code, source = wording_problems(project)
    assert re.search(r"page.md:3: .*'parted': split", page)
    assert re.search(r"code.py:3: .*'anew': again", code)
    assert re.search(r"08_tiny.py:\d+: write plain English for 'Whoever'", source)


# nbval with our sanitize file


@pytest.mark.nightly
def test_nbval_passes_a_solution_and_sees_what_differs(built_project):
    """Pixels may differ, and nothing else."""
    from lab_authoring.kernel import kernel_environment

    solution = built_project / "notebooks" / "solutions" / "08_tiny.ipynb"
    pixels = shutil.copy(solution, solution.with_name("pixels.ipynb"))
    change(pixels, "data:image/png;base64,iVBOR", "data:image/jpeg;base64,abcde")
    changed = shutil.copy(solution, solution.with_name("changed.ipynb"))
    change(changed, 'alt=\\"It goes up', 'alt=\\"It goes down')
    change(changed, '"after it\\n"', '"before it\\n"')
    change(changed, '"evalue": "the lesson"', '"evalue": "another lesson"')
    solution.unlink()
    command = f"{sys.executable} -m pytest --nbval --nbval-current-env --nbval-cell-timeout 300"
    options = [f"--nbval-sanitize-with={SANITIZE}", "-p", "no:cacheprovider", "-rf"]
    ended = ran(*command.split(), *options, cwd=solution.parent, env=kernel_environment())
    failed = re.findall(r"^FAILED (\w+)\.ipynb", ended.stdout, re.MULTILINE)
    assert failed == ["changed"] * 3, ended.stdout
