"""`lab train | stage | fetch | lineage | cleanup` with the real SDK, over their own tracker."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import lab_tracker as tracking
from lab_utils import staging
from lab_utils.staging import compiling, names
from lab_utils.staging.lineage import lineage
from lab_utils.staging.parity import Parity
from lab_utils.staging.tracker import Tracker
from lab_utils.staging.training import log_file, mark_best
from text_recognizer.files import sha256
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.train.checkpoint import load_reader_checkpoint

ROOT = Path(__file__).resolve().parents[1]
SHORT = {"steps": 2, "pages": 2, "validation_pages": 1, "max_width": 256}
USER_SETTINGS = ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY", "LAB_MODEL")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An empty `.lab` with a tracker, which all tests of this file share."""
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        for name in USER_SETTINGS:
            patch.delenv(name, raising=False)
        patch.setenv("LAB_HOME", str(folder))
        with tracking.connect():
            yield folder


@pytest.fixture(scope="module")
def trained(home):
    return staging.train(**SHORT)


@pytest.fixture(scope="module")
def staged(trained):
    return staging.stage(pages=1)


@pytest.fixture
def project(home, request) -> str:
    """A project for one test alone."""
    return "p-" + "".join(c if c.isalnum() else "-" for c in request.node.name)[:60]


def file_of(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def log_checkpoints(project: str, folder: Path, *told: dict, content: bytes = b"x") -> str:
    """Versions of the checkpoint's artifact with any bytes, by one run; the last one's name."""
    with Tracker(project).new_run(names.TRAIN_JOB) as run:
        for place, metadata in enumerate(told):
            other = content + bytes([place])
            path = file_of(folder / str(len(metadata)) / str(place), names.CHECKPOINT_FILE, other)
            logged = log_file(run, names.CHECKPOINT, names.CHECKPOINT_TYPE, path, metadata)
    return logged.source_name


def log_staged(project: str, folder: Path, checkpoint: str | None, content: bytes) -> str:
    """A version of the staged model's artifact with any bytes, made from a checkpoint."""
    path = file_of(folder, names.STAGED_FILE, content)
    tracker = Tracker(project)
    with tracker.new_run(names.STAGE_JOB) as run:
        if checkpoint:
            run.use_artifact(tracker.qualified(checkpoint))
        digest = {"sha256": sha256(path)}
        return log_file(run, names.STAGED, names.STAGED_TYPE, path, digest).source_name


def aliases(project: str, name: str = names.CHECKPOINT) -> dict[str, list[str]]:
    """The aliases of every version of a collection."""
    type = names.CHECKPOINT_TYPE if name == names.CHECKPOINT else names.STAGED_TYPE
    found = Tracker(project).versions(name, type)
    return {a.version: sorted(b for b in a.aliases if b != a.version) for a in found}


def assert_told(done: tuple[int, str, str], *words: str) -> None:
    """One line on stderr besides the names of steps, exit code 2, no result."""
    code, out, err = done
    told = [line for line in err.splitlines() if line.startswith("lab: ")]
    assert (code, out, len(told)) == (2, "", 1), err
    assert "Traceback" not in err and err.splitlines()[-1] == told[0]
    for word in words:
        assert word in told[0], told[0]


# Train


def test_a_training_leaves_a_checkpoint_that_tells_where_it_came_from(trained, tmp_path):
    tracker = Tracker()
    artifact = tracker.artifact(trained.name, names.CHECKPOINT_TYPE)
    told = artifact.metadata
    assert {"best", "latest"} == set(trained.aliases) <= set(artifact.aliases)
    assert told["score"] == trained.cer and told["step"] == 2
    assert told["config"]["max_steps"] == 2 and told["data"]["pages"]["train"] == 2
    for name, digest in told["packaged_weights"].items():
        assert digest == sha256(ROOT / "data" / "weights" / name)
    assert told["versions"]["torch"] == torch.__version__
    path = tmp_path / "x.ckpt"
    tracker.download(artifact, names.CHECKPOINT_FILE, path, told["sha256"])
    assert path.stat().st_size == trained.bytes
    assert dict(load_reader_checkpoint(path).hparams)["learning_rate"] == 1e-5


def test_best_moves_to_a_lower_cer_alone(project, tmp_path):
    log_checkpoints(project, tmp_path, {"score": 0.3}, {"score": 0.4}, {"score": 0.3}, {})
    for _ in range(2):
        mark_best(Tracker(project))
        assert aliases(project) == {"v0": ["best"], "v1": [], "v2": [], "v3": ["latest"]}
    log_checkpoints(project, tmp_path, {"score": 0.2}, content=b"y")
    mark_best(Tracker(project))
    assert aliases(project)["v4"] == ["best", "latest"] and aliases(project)["v0"] == []
    # Scores on other lines can't be compared.
    other = {"score": 0.1, "data": {"validation_sha256": "other"}}
    log_checkpoints(project, tmp_path, other, content=b"z")
    mark_best(Tracker(project))
    assert aliases(project)["v4"] == ["best"]


def test_unusable_data_is_told_and_starts_no_run(lab, project, tmp_path):
    (tmp_path / "labels.json").write_text('{"items": []}')
    assert_told(lab("train", "--data", tmp_path, "--project", project), "labels.json")
    with pytest.raises(staging.StagingError, match="There is no project"):
        Tracker(project).versions(names.CHECKPOINT, names.CHECKPOINT_TYPE)


def test_an_interrupted_training_is_marked_and_logs_nothing(lab, project, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    step = "text_recognizer.train.reader.ReaderTraining.validation_step"
    monkeypatch.setattr(step, interrupted)
    done = lab("train", "--steps", 1, "--pages", 1, "--max-width", 256, "--project", project)
    assert done[0] == 130
    [run] = Tracker(project).api.runs(Tracker(project).path)
    assert run.state == "failed" and "interrupted" in run.tags
    assert [a for a in run.logged_artifacts() if a.type == names.CHECKPOINT_TYPE] == []


# Stage


def test_what_is_staged_tells_how_it_was_made(trained, staged):
    artifact = Tracker().artifact(staged.name, names.STAGED_TYPE)
    told = artifact.metadata
    assert told["checkpoint"] == trained.name and told["config"]["max_steps"] == 2
    assert told["parity"]["holds"] and told["parity"]["pages_that_differ"] == []
    assert told["metrics"]["score"] == trained.cer
    assert told["bytes"] == {"checkpoint": trained.bytes, "torchscript": staged.bytes}
    assert told["versions"]["pytorch-lightning"] and len(told["line_finder_sha256"]) == 64
    assert staged.ratio <= 0.4 and "latest" in artifact.aliases


def test_a_model_that_reads_otherwise_is_not_staged(lab, trained, staged, monkeypatch):
    before = aliases(names.PROJECT, names.STAGED)
    other = Parity(1, 5, ["page.jpg"], 3.0, 0.01, 0.5)
    monkeypatch.setattr(compiling, "compare", lambda *_: other)
    assert_told(lab("stage", "--promote"), "not staged", "page.jpg")
    assert aliases(names.PROJECT, names.STAGED) == before
    [newest] = [r for r in Tracker().api.runs(Tracker().path, order="-created_at")][:1]
    assert (newest.job_type, newest.state) == ("stage", "failed")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stage", "--checkpoint", "worst"], ["line-reader:worst", "v0 (", "best"]),
        (["stage", "--checkpoint", "nothing:best"], ["nothing:best", "no version"]),
        (["fetch", "line-reader:latest"], ["of type prod-ready"]),
        (["fetch", "--project", "nowhere"], ["no project lab/nowhere", "--project"]),
        (["lineage", "--picture", "x.png"], [".svg"]),
        (["cleanup", "something:v0"], ["something:v0", "line-reader:v0"]),
        (["train", "--project", "a:b"], ["a:b"]),
    ],
    ids=lambda value: " ".join(value) if "-" not in value[0] else "",
)
def test_what_is_not_there_is_told_in_one_line(lab, staged, arguments, words):
    assert_told(lab(*arguments), *words)


# The SDK's variables


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        ("train", "WANDB_MODE", "offline"),
        ("run", "WANDB_RUN_ID", "abc123"),
        ("stage", "WANDB_DISABLED", "true"),
    ],
)
def test_a_variable_that_would_break_the_lineage_is_refused(
    lab, staged, monkeypatch, command, name, value
):
    monkeypatch.setenv(name, value)
    assert_told(lab(command), name, "unset")


def test_tags_and_a_project_with_its_entity_work(lab, home, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_TAGS", "a,,b, a")
    monkeypatch.setenv("WANDB_PROJECT", "lab/in-the-environment")
    tracker = Tracker("lab/in-the-environment")
    with tracker.new_run(names.TRAIN_JOB) as run:
        path = file_of(tmp_path, names.CHECKPOINT_FILE, b"a")
        log_file(run, names.CHECKPOINT, names.CHECKPOINT_TYPE, path, {"score": 0.5})
    assert sorted(tracker.api.run(f"{tracker.path}/{run.id}").tags) == ["a", "b"]
    code, out, err = lab("cleanup")
    assert code == 0 and "line-reader:v0" in out and err == ""


# Fetch


def test_fetch_puts_a_version_in_place_and_says_where(lab, staged, home, tmp_path):
    code, out, err = lab("fetch")
    path = home / "staged" / "paragraph_reader.pt"
    assert (code, out.strip()) == (0, str(path)) and "Traceback" not in err
    assert sha256(path) == staged.sha256
    assert ParagraphTextRecognizer(path).predict(ROOT / "data/pages/show_font_002.jpg")
    version = staged.name.partition(":")[2]
    assert staging.fetch(version, tmp_path) == tmp_path / "paragraph_reader.pt"


def test_a_version_without_a_digest_is_not_fetched(lab, project, tmp_path):
    path = file_of(tmp_path, names.STAGED_FILE, b"anything")
    with Tracker(project).new_run(names.STAGE_JOB) as run:
        log_file(run, names.STAGED, names.STAGED_TYPE, path, {})
    done = lab("fetch", "--project", project, "--out", tmp_path / "out.pt")
    assert_told(done, "no SHA-256")
    assert not (tmp_path / "out.pt").exists()


def test_a_manifest_that_leaves_the_folder_is_refused(lab, staged, tmp_path, monkeypatch):
    from wandb import Artifact

    original = Artifact.manifest.fget

    def manifest(self):
        found = original(self)
        found.entries.setdefault("../outside", next(iter(found.entries.values())))
        return found

    monkeypatch.setattr(Artifact, "manifest", property(manifest))
    assert_told(lab("fetch", "--out", tmp_path / "x" / "m.pt"), "../outside")
    assert list(tmp_path.iterdir()) == []


# Lineage


def test_lineage_walks_back_to_the_data(lab, trained, staged, tmp_path):
    found = lineage(staged.name.partition(":")[2])
    assert found.is_complete and found.staged.name == staged.name
    assert found.staging_run.id == staged.run_id and found.staging_run.job_type == "stage"
    assert found.checkpoint.name == trained.name
    assert found.training_run.id == trained.run_id
    assert found.training_run.metrics["cer"] == pytest.approx(trained.cer)
    assert found.training_run.config["learning_rate"] == 1e-5
    assert found.data.type == "dataset" and found.data.metadata["pages"]["train"] == 2
    code, out, err = lab("lineage", found.staged.name, "--picture", tmp_path / "l.svg")
    assert (code, err, len(out.splitlines())) == (0, "", 6)
    assert (tmp_path / "l.svg").stat().st_size


def test_a_lineage_with_a_deleted_run_ends_there(project, tmp_path):
    name = log_checkpoints(project, tmp_path, {"score": 0.1})
    log_staged(project, tmp_path, name, b"model")
    tracker = Tracker(project)
    tracker.artifact(name, names.CHECKPOINT_TYPE).logged_by().delete()
    found = lineage("latest", project=project)
    assert found.checkpoint.name == name and found.training_run is None and found.data is None


# Cleanup


def family(project: str, folder: Path) -> None:
    """Four checkpoints, staged models of three, the second of them in production; v0 of both is
    what nobody needs."""
    log_checkpoints(project, folder, *[{"score": score} for score in (0.3, 0.2, 0.1, 0.4)])
    mark_best(Tracker(project))
    for number in range(3):
        log_staged(project, folder, f"line-reader:v{number}", str(number).encode())
    served = Tracker(project).artifact("v1", names.STAGED_TYPE)
    served.aliases.append(names.PRODUCTION)
    served.save()


def everything(project: str) -> list[str]:
    return [
        f"{name}:{version}"
        for name in (names.STAGED, names.CHECKPOINT)
        for version in aliases(project, name)
    ]


def test_cleanup_tells_first_and_deletes_when_told(lab, project, tmp_path):
    family(project, tmp_path)
    before = everything(project)
    for name in ("paragraph-reader:production", "line-reader:v1"):
        assert_told(lab("cleanup", name, "--yes", "--project", project), "stays")
    kept = {one.name: one.kept_because for one in staging.cleanup(keep=3, project=project).versions}
    assert kept["paragraph-reader:v0"] == "one of the newest 3"
    assert kept["line-reader:v0"] == "paragraph-reader:v0 descends from it"
    code, out, err = lab("cleanup", "--project", project)
    assert code == 0 and "--yes" in err and everything(project) == before
    gone = [line.split()[1] for line in out.splitlines() if line.startswith("delete ")]
    assert gone == ["paragraph-reader:v0", "line-reader:v0"]
    assert "line-reader:v1  (paragraph-reader:v1 descends from it)" in out
    assert "line-reader:v2  (best)" in out
    code, out, err = lab("cleanup", "--project", project, "--yes")
    assert (code, err) == (0, "")
    assert everything(project) == [name for name in before if name not in gone]
    assert staging.cleanup(project=project).to_delete == []


def test_a_version_that_is_promoted_meanwhile_is_not_deleted(project, tmp_path, monkeypatch):
    log_checkpoints(project, tmp_path, {"score": 0.1}, {"score": 0.2})
    module = sys.modules["lab_utils.staging.cleanup"]
    original = module._delete

    def promoted_first(tracker, artifact):
        artifact.aliases.append("rescued")
        artifact.save()
        original(tracker, artifact)

    monkeypatch.setattr(module, "_delete", promoted_first)
    with pytest.raises(staging.StagingError, match="v0 became rescued just now"):
        staging.cleanup(yes=True, project=project)
    assert everything(project) == ["line-reader:v1", "line-reader:v0"]


# In processes of their own


def lab_process(home: Path, *arguments, **settings) -> subprocess.Popen:
    return python(home, "-m", "lab_utils.cli", *map(str, arguments), **settings)


def python(home: Path, *arguments: str, **settings: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if "WANDB" not in k and "LAB_" not in k}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment | {"LAB_HOME": str(home)} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_wrong_key_is_one_line(home, staged, tmp_path):
    server = tracking.connect()
    settings = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "HOME": str(tmp_path)}
    process = lab_process(home, "fetch", "--out", tmp_path / "m.pt", **settings)
    out, err = process.communicate(timeout=60)
    assert_told((process.returncode, out, err), "refused the key", "WANDB_API_KEY")
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.slow
def test_interrupted_by_a_terminal(home, trained, project):
    process = lab_process(home, "train", "--steps", 1000, "--pages", 1, "--project", project)
    tracker = Tracker(project)
    while process.poll() is None and not runs_of(tracker):
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


def runs_of(tracker: Tracker) -> int:
    try:
        return len(tracker.api.runs(tracker.path))
    except ValueError:  # the project is not there yet
        return 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "delay"),
    [
        ("upload", 0.15),
        ("verify", 0.0),
        *(
            pytest.param(step, delay, marks=pytest.mark.nightly)
            for step in ("compile", "parity", "upload", "verify", "promote")
            for delay in (0.1, 0.4)
        ),
    ],
)
def test_killed_at_any_point_nothing_is_served_that_is_not_whole(
    home, trained, tmp_path, step, delay
):
    code = "from lab_utils import staging; staging.stage(pages=1, promote=True, on_step=tell)"
    tell = "import sys; tell = lambda step: print(step, file=sys.stderr, flush=True)\n"
    process = python(home, "-c", tell + code)
    for line in process.stderr:
        if line.strip() == step:
            break
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for version, has in aliases(names.PROJECT, names.STAGED).items():
        if has:
            staging.fetch(version, tmp_path / f"{version}.pt")
            ParagraphTextRecognizer(tmp_path / f"{version}.pt")
