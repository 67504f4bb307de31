"""The script for a machine with a GPU, on one without, and what `lab adopt` makes of its folder."""

import gzip
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import trace_making
from conftest import python, ran

from lab_utils import adoption
from lab_utils.adoption import adopt_traces, joined_reader, objections
from lab_utils.profiling import BatchFigures, Profile
from lab_utils.profiling.launches import compare_ways
from lab_utils.profiling.trace import read_trace
from text_recognizer.errors import RecognizerError
from text_recognizer.places import project_folder
from text_recognizer.weights import load_line_reader, packaged_weights

LACKED = ["fastapi", "gradio", "httpx", "jupytext", "pyngrok", "segno", "typer", "wandb"]
GUARD = f"""
import sys
from importlib.metadata import Distribution, PackageNotFoundError
real = Distribution.from_name
def from_name(name):
    if name in {LACKED}:
        raise PackageNotFoundError(name)
    return real(name)
Distribution.from_name = from_name
sys.modules.update(dict.fromkeys({LACKED}))
"""
"""A sitecustomize.py for a Python without what a machine with a GPU may lack."""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(project_folder() / "benchmarks"))
    import on_a_gpu

    return on_a_gpu


@pytest.fixture
def guarded(tmp_path):
    """An environment in which Python finds no GPU and none of LACKED."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    path = os.pathsep.join([str(tmp_path / "guard"), str(project_folder())])
    return os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}


def test_every_step_needs_only_what_the_machine_has_and_one_line_says_what_lacks(guarded, tmp_path):
    out = tmp_path / "out"
    code = (
        "import lab_utils.profiling.launches, text_recognizer.train.by_time, "
        "text_recognizer.evaluate.validation, text_recognizer.compile, runpy, sys; "
        f"sys.argv[1:] = ['--out', {str(out)!r}]; "
        "runpy.run_path('benchmarks/on_a_gpu.py', run_name='__main__')"
    )
    done = python(code, env=guarded)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "--device cpu" in done.stderr and not out.exists()


@pytest.mark.parametrize("problem", ["packages", "pack", "disk", "full", "minutes", "steps"])
def test_what_cannot_work_is_refused_before_anything_is_written(
    script, monkeypatch, tmp_path, problem
):
    out, pack = tmp_path / "out", tmp_path / "pack.zip"
    pack.write_bytes(b"PK")
    arguments = ["--device", "cpu", "--out", str(out), "--pack", str(pack)]
    arguments += {"minutes": ["--minutes", "0"], "steps": ["--steps", "trian"]}.get(problem, [])
    if problem != "pack":
        monkeypatch.setattr("text_recognizer.pages.pack.check_pack", lambda *_: None)
    if problem == "disk":
        monkeypatch.setattr(script, "DISK", 10**18)
    if problem == "full":
        out.mkdir()
        (out / "mine").touch()
    if problem == "packages":
        monkeypatch.setattr(script, "NEEDED", ["numpy", "not_here", "nor_this"])
    monkeypatch.setenv("LAB_DATA_PACK", "")  # put back at the end
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RecognizerError) as refusal:
        script._check(script.parser().parse_args(arguments))
    assert problem != "packages" or "lacks not_here, nor_this" in str(refusal.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_large_trace_is_pruned_and_keeps_its_figures(script, tmp_path):
    events = [trace_making.step(1, 0, 100), trace_making.operator("aten::conv2d", 0, 15)]
    events += [{"ph": "s", "id": n, "cat": "ac2g", "name": "ac2g", "ts": n} for n in range(9000)]
    path = tmp_path / "a.pt.trace.json.gz"
    document = trace_making.document(events) | {"traceName": "/elsewhere/secret/trace.json"}
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    size = path.stat().st_size
    assert script.prune(path, size)
    pruned = json.loads(gzip.decompress(path.read_bytes()))
    assert pruned == trace_making.document(events), "all but the place on the machine stays"
    assert script.prune(path, size // 4)
    assert [one.name for one in read_trace(path).operators] == ["aten::conv2d"]
    assert not script.prune(path, 10)


def test_ways_of_the_reader_agree_and_say_what_needs_a_gpu():
    reader = load_line_reader(packaged_weights() / "line_reader.safetensors").eval()
    ways = compare_ways(reader, torch.ones(2, 1, 48, 64), torch.tensor([64, 32]), repeats=1)
    assert len(ways) == 4 and ways[0].equal and ways[1].equal and ways[1].pages_per_second > 0
    if not torch.cuda.is_available():
        assert [way.note for way in ways[2:]] == ["needs a GPU"] * 2


# The way back


@pytest.fixture
def brought(tmp_path):
    """A made folder, as the script leaves one: profile, a trace, the packaged weights."""
    folder = tmp_path / "brought"
    (folder / "batch_size_01").mkdir(parents=True)
    inner = folder / "batch_size_01" / "lab.1.pt.trace.json.gz"
    trace_making.write(inner, trace_making.BUSY_GPU)
    device = {"kind": "cuda", "name": "Made GPU", "driver": "1.2"}
    batches = [BatchFigures(1, seconds=[0.1], trace=inner), BatchFigures(16, seconds=[0.2])]
    profile = Profile(device, {"torch": "2.11"}, "2030-01-01T00:00:00", "test", "abc", "2", batches)
    profile.save(folder / "profile.json")
    inner.rename(folder / "batch_size_01.lab.1.pt.trace.json.gz")
    inner.parent.rmdir()
    ways = [{"name": "one", "pages_per_second": 9.0, "equal": True, "note": ""}]
    steps = {"check": {"commit": "abc"}, "launches": {"ways": ways}, "train": {"status": "done"}}
    result = {"format": "lab-gpu/1", "command": "on_a_gpu.py --minutes 9", "steps": steps}
    (folder / "result.json").write_text(json.dumps(result))
    shutil.copyfile(packaged_weights() / adoption.READER, folder / adoption.READER)
    return folder


def test_a_recording_is_adopted_with_its_card(brought, tmp_path):
    result = adoption.read_result(brought)
    out = adopt_traces(brought, result, tmp_path / "traces")
    found = Profile.load(out)
    assert found.batches[0].trace.is_file() and found.batches[1].trace is None
    text = (out / "README.md").read_text()
    for word in ("Made GPU", "1.2", "2.11", "2030-01-01", "on_a_gpu.py --minutes 9", "abc"):
        assert word in text
    assert adopt_traces(brought, result, tmp_path / "traces") == out  # again, in its place


def test_damaged_folders_change_nothing(brought, tmp_path, refused):
    trace = next(brought.glob("batch_size_01*"))
    trace.write_bytes(trace.read_bytes()[:-30])
    with pytest.raises(RecognizerError):
        adopt_traces(brought, adoption.read_result(brought), tmp_path / "traces")
    assert not list((tmp_path / "traces").glob("*"))
    (brought / "result.json").write_text("{")
    for folder in (brought, tmp_path / "none"):
        refused("adopt", folder)


def test_parts_of_large_weights_are_joined(brought, script, tmp_path, monkeypatch):
    data = (brought / adoption.READER).read_bytes()
    monkeypatch.setattr(script, "MOST_BYTES", len(data) // 2 - 1)
    script._split_large_files(brought)
    assert max(path.stat().st_size for path in brought.iterdir()) < len(data) // 2
    assert joined_reader(brought, tmp_path / "joined").read_bytes() == data
    (brought / f"{adoption.READER}.part2").unlink()
    with pytest.raises(RecognizerError, match="missing"):
        joined_reader(brought, tmp_path / "joined")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"unipen, none": 0.09, "copiste, none": 0.08}, "without"),
        ({"unipen, english": 0.07}, "higher"),
        # One group must not pay for the other.
        ({"unipen, english": 0.02, "copiste, english": 0.06}, "copiste is read worse"),
        ({"seconds": 0.4}, "as long"),
        ({"MB": 20.0}, "MB"),
    ],
)
def test_the_rule_by_which_weights_are_packaged(changed, said):
    rest = {"unipen, english": 0.05, "copiste, english": 0.05, "seconds": 0.2, "MB": 1.0}
    old = {"unipen, none": 0.08, "copiste, none": 0.08} | rest
    new = {"unipen, none": 0.07, "copiste, none": 0.07} | rest
    found = objections(new | changed, old)
    assert (said in found[0]) if said else not found


def test_adopt_packages_what_is_better(brought, tmp_path, monkeypatch, lab):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "digests.json").write_text(json.dumps({adoption.READER: "of the ones before"}))
    monkeypatch.setattr(adoption, "adopt_traces", lambda *_: tmp_path)
    monkeypatch.setattr("text_recognizer.weights.packaged_weights", lambda: weights)
    monkeypatch.setattr("lab_utils.commands.gpu._compared", lambda *_: ["it is slower"])
    assert "Not packaged: it is slower." in lab("adopt", brought)[1]
    monkeypatch.setattr("lab_utils.commands.gpu._compared", lambda *_: [])
    code, out, _ = lab("adopt", brought, "--dry-run")
    assert code == 0 and "Rule:" in out and not (weights / adoption.READER).exists()
    assert lab("adopt", brought)[0] == 0
    load_line_reader(weights / adoption.READER)  # its digest is noted


@pytest.mark.nightly
def test_the_whole_script_on_a_processor_from_a_copy(handwriting, guarded, tmp_path, lab):
    """From a copy of the tracked files, with the packages of that machine and no network."""
    copy = tmp_path / "copy"
    listed = ran("git", "ls-files", "-z", check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project_folder() / name, copy / name)
    pack = tmp_path / "pack.zip"
    assert lab("pack", "--out", pack)[0] == 0
    out = tmp_path / "out"
    command = [sys.executable, "benchmarks/on_a_gpu.py", "--device", "cpu", "--minutes", "0.5"]
    command += ["--pack", str(pack), "--out", str(out)]
    offline = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") and subprocess.run([*offline, "true"]).returncode == 0:
        command = [*offline, *command]
    environment = guarded | {"PYTHONPATH": guarded["PYTHONPATH"].split(os.pathsep)[0]}
    subprocess.run(command, cwd=copy, env=environment, check=True)
    result = json.loads((out / "result.json").read_text())
    assert {step["status"] for step in result["steps"].values()} == {"done"}, result
    assert max(path.stat().st_size for path in out.iterdir()) < 16 * 2**20
    assert len(list(out.iterdir())) <= 8
    assert json.loads((out / "training.json").read_text())["validations"][-1]["steps"]
    adopted(copy, out, pack)


def adopted(copy, out, pack):
    """The way back, whole, in the copy: measured, by the rule, with the recording's card."""
    weights = copy / "data" / "weights"
    before = (weights / adoption.READER).read_bytes()
    command = [sys.executable, "-m", "lab_utils.cli", "adopt", out, "--pages", 1]
    environment = os.environ | {"PYTHONPATH": str(copy), "LAB_DATA_PACK": str(pack)}
    done = ran(*command, cwd=copy, env=environment, timeout=None)
    assert done.returncode == 0, done.stderr
    assert "Rule:" in done.stdout and "(packaged" in done.stdout
    packaged = (weights / adoption.READER).read_bytes() != before
    assert packaged != ("Not packaged:" in done.stdout), done.stdout
    load_line_reader(weights / adoption.READER)
    recording = copy / "data" / "traces" / "cpu"
    assert "on_a_gpu.py --device cpu" in (recording / "README.md").read_text()
    assert all(Profile.load(recording).batches[n].trace.is_file() for n in (0, 1))
