"""`lab run | train | stage | fetch | lineage | cleanup` with the real SDK, over a tracker of their
own: what each promises, what it refuses, and that a broken link is named."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import torch
from tracking_client import Client

import lab_tracker as tracking
from lab_tracker.errors import TrackingError
from lab_utils import staging
from lab_utils.staging import compiling, names, pipeline
from lab_utils.staging.lineage import lineage
from lab_utils.staging.parity import Parity
from lab_utils.staging.tracker import Tracker
from lab_utils.staging.training import mark_best
from text_recognizer.files import sha256
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.train.checkpoint import load_reader_checkpoint

ROOT = Path(__file__).resolve().parents[1]
USER_SETTINGS = ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY", "LAB_MODEL")
LINKS = [
    *("data", "train", "checkpoint"),
    *("find", "download checkpoint", "compile", "parity", "upload", "verify"),
    *("download", "read"),
]
UNWANTED = {"pytorch_lightning", "lightning", "wandb", "numpy", "torchmetrics", "safetensors"}


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
def handed_off(home, tmp_path_factory):
    """The whole way once, with few lines to validate on and one page to compare and to read."""
    out = tmp_path_factory.mktemp("out") / "model.pt"
    with pytest.MonkeyPatch.context() as patch:
        few = partial(staging.train, validation_pages=1, max_width=256)
        patch.setattr(pipeline, "train", few)
        patch.setattr(pipeline, "stage", partial(staging.stage, pages=1))
        return staging.hand_off(steps=1, pages=1, out=out)


@pytest.fixture
def trained(handed_off):
    return handed_off.trained


@pytest.fixture
def staged(handed_off):
    return handed_off.staged


class Past:
    """A project with versions that plain requests have put there, each by a run of its own."""

    def __init__(self, project: str) -> None:
        self.project = project
        self._client = Client(os.environ["WANDB_BASE_URL"], os.environ["WANDB_API_KEY"])
        self._number = count()

    def checkpoint(self, **metadata) -> str:
        """Logs a checkpoint; its id."""
        return self._log(names.CHECKPOINT, names.CHECKPOINT_TYPE, names.CHECKPOINT_FILE, metadata)

    def staged(self, checkpoint: str | None = None, aliases: tuple[str, ...] = ()) -> str:
        """Logs a staged model that was made from a checkpoint."""
        return self._log(
            names.STAGED, names.STAGED_TYPE, names.STAGED_FILE, {}, checkpoint, aliases
        )

    def aliases(self, type: str = names.CHECKPOINT_TYPE) -> dict[str, set[str]]:
        """The aliases of every version of the lab's artifact of a type."""
        found = self._client.versions(names.COLLECTIONS[type], type, self.project)
        return {version: node["aliases"] for version, node in found.items()}

    def _log(self, name, type, file, metadata, used=None, aliases=()) -> str:
        number = next(self._number)
        run = f"run-{number}"
        self._client.run(run, self.project)
        if used:
            where = {"entityName": "lab", "projectName": self.project, "runName": run}
            self._client.mutate("useArtifact", "{ artifact { id } }", artifactID=used, **where)
        where = {"run": run, "project": self.project, "type": type}
        content = {file: f"bytes {number}".encode()}
        return self._client.log(name, content, metadata=metadata, aliases=aliases, **where)


@pytest.fixture
def past(home, request) -> Past:
    """A project for one test."""
    return Past("p-" + "".join(c if c.isalnum() else "-" for c in request.node.name)[:60])


def staged_versions(tracker: Tracker) -> list[tuple[str, list[str]]]:
    found = tracker.versions(names.STAGED, names.STAGED_TYPE)
    return [(one.version, sorted(one.aliases)) for one in found]


def assert_one_line(done: tuple[int, str, str], *words: str) -> None:
    """One line on stderr besides the names of steps, exit code 2, no result."""
    code, out, err = done
    lines = [line for line in err.splitlines() if line.startswith("lab: ")]
    assert (code, out, len(lines)) == (2, "", 1), err
    assert "Traceback" not in err and err.splitlines()[-1] == lines[0]
    for word in words:
        assert word in lines[0], lines[0]


# The whole way


def test_a_model_goes_from_data_to_text_link_by_link(handed_off, trained, staged):
    assert list(handed_off.seconds) == LINKS
    [page] = handed_off.pages
    assert page.cer < 0.1 and page.seconds > 0
    assert page.lines == page.item.text.count("\n") + 1
    assert {"torch", "PIL"} <= set(handed_off.modules)
    assert not set(handed_off.modules) & UNWANTED
    assert handed_off.file.stat().st_size == staged.bytes and staged.ratio <= 0.4
    assert staged.checkpoint == trained.name and {"best", "latest"} == set(trained.aliases)


def test_the_records_lead_back_to_the_data(lab, trained, staged, tmp_path):
    found = lineage(staged.name.partition(":")[2])
    assert found.is_complete and found.staged.name == staged.name
    assert found.staging_run.id == staged.run_id and found.staging_run.job_type == "stage"
    assert found.training_run.id == trained.run_id and found.checkpoint.name == trained.name
    assert found.training_run.summary["cer"] == pytest.approx(trained.cer)
    assert found.training_run.config["learning_rate"] == 1e-5
    assert found.data.type == "dataset" and found.data.metadata["pages"]["train"] == 3
    made, read = found.staged.metadata, found.checkpoint.metadata
    assert made["checkpoint"] == trained.name and made["config"]["max_steps"] == 1
    assert made["parity"]["holds"] and made["parity"]["pages_that_differ"] == []
    assert made["bytes"] == {"checkpoint": trained.bytes, "torchscript": staged.bytes}
    assert made["metrics"]["score"] == read["score"] == trained.cer and read["step"] == 1
    for name, digest in read["packaged_weights"].items():
        assert digest == sha256(ROOT / "data" / "weights" / name)
    assert made["versions"]["torch"] == read["versions"]["torch"] == torch.__version__
    path = tmp_path / "x.ckpt"
    Tracker().download(found.checkpoint, names.CHECKPOINT_FILE, path, read["sha256"])
    assert dict(load_reader_checkpoint(path).hparams)["learning_rate"] == 1e-5
    code, out, err = lab("lineage", found.staged.name)
    assert (code, err, len(out.splitlines())) == (0, "", 6)


@pytest.fixture
def made(handed_off, monkeypatch):
    """Lets the first two thirds of the chain give what they gave before."""
    monkeypatch.setattr(pipeline, "train", lambda *_, **__: handed_off.trained)
    monkeypatch.setattr(pipeline, "stage", lambda *_, **__: handed_off.staged)
    return handed_off


def test_a_broken_download_and_a_far_end_that_dies_are_named(made, home, tmp_path, monkeypatch):
    blobs = (home / "wandb" / "blobs").rglob("*")
    [blob] = [path for path in blobs if path.stat().st_size == made.staged.bytes]
    content = blob.read_bytes()
    try:
        blob.write_bytes(content[:-1] + b"?")
        with pytest.raises(staging.StagingError, match="^download: .*damaged"):
            staging.hand_off(out=tmp_path / "model.pt")
    finally:
        blob.write_bytes(content)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="^download: "):
        staging.hand_off(out=tmp_path / "out.pt")


def test_a_tracker_that_cannot_go_on_is_named_with_its_link(made, monkeypatch):
    def full_disk(*_, **__):
        raise TrackingError("The disk is full.")

    monkeypatch.setattr(pipeline, "stage", full_disk)
    with pytest.raises(staging.StagingError, match="The disk is full"):
        staging.hand_off()


def assert_shows(out: str, pages: int) -> None:
    """The links with their seconds, and the pages with their CER."""
    assert re.findall(r"^(\w[\w ]*?) +[\d.]+ s$", out, re.MULTILINE) == LINKS
    rates = re.findall(r"[\d.]+ s, \d+ lines, CER ([\d.]+)", out)
    assert len(rates) == pages and sum(map(float, rates)) / pages < 0.1


def test_lab_run_shows_links_and_pages(handed_off, lab, monkeypatch):
    def hand_off(on_link, **_):
        for link, seconds in handed_off.seconds.items():
            on_link(link, seconds)
        return handed_off

    monkeypatch.setattr(pipeline, "hand_off", hand_off)
    code, out, err = lab("run")
    assert (code, err) == (0, "")
    assert_shows(out, pages=1)


# Train


def test_best_moves_only_to_a_lower_cer(past):
    for metadata in ({"score": 0.3}, {"score": 0.4}, {"score": 0.3}, {}):
        past.checkpoint(**metadata)
    for _ in range(2):
        mark_best(Tracker(past.project))
        assert past.aliases() == {"v0": {"best"}, "v1": set(), "v2": set(), "v3": {"latest"}}
    past.checkpoint(score=0.2)
    mark_best(Tracker(past.project))
    assert past.aliases()["v4"] == {"best", "latest"} and past.aliases()["v0"] == set()
    # Scores on other lines can't be compared.
    past.checkpoint(score=0.1, data={"validation_sha256": "other"})
    mark_best(Tracker(past.project))
    assert past.aliases()["v4"] == {"best"}


def test_unusable_data_is_one_line_and_starts_no_run(lab, past, tmp_path):
    (tmp_path / "labels.json").write_text('{"items": []}')
    done = lab("train", "--data", tmp_path, "--project", past.project)
    assert_one_line(done, "labels.json")
    with pytest.raises(ValueError, match=past.project):
        len(Tracker(past.project).api.runs(f"lab/{past.project}"))


def test_an_interrupted_training_is_marked_and_logs_nothing(lab, past, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    step = "text_recognizer.train.reader.ReaderTraining.validation_step"
    monkeypatch.setattr(step, interrupted)
    monkeypatch.setenv("WANDB_TAGS", "a,,b, a")
    monkeypatch.setenv("WANDB_PROJECT", f"lab/{past.project}")
    assert lab("train", "--steps", 1, "--pages", 1, "--max-width", 256)[0] == 130
    [run] = Tracker(past.project).api.runs(f"lab/{past.project}")
    assert run.state == "failed" and set(run.tags) == {"a", "b", "interrupted"}
    assert [a for a in run.logged_artifacts() if a.type == names.CHECKPOINT_TYPE] == []


# Stage


def test_a_model_that_reads_otherwise_is_not_staged(lab, staged, monkeypatch):
    before = staged_versions(Tracker())
    other = Parity(1, 5, ["page.jpg"], 3.0, 0.01, 0.5)
    monkeypatch.setattr(compiling, "compare", lambda *_: other)
    assert_one_line(lab("stage", "--promote"), "not staged", "page.jpg")
    assert staged_versions(Tracker()) == before
    [newest] = [r for r in Tracker().api.runs(Tracker().path, order="-created_at")][:1]
    assert (newest.job_type, newest.state) == ("stage", "failed")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stage", "--checkpoint", "worst"], ["line-reader:worst", "v0 (", "best"]),
        (["stage", "--checkpoint", "nothing:best"], ["nothing:best", "no version"]),
        (["fetch", "line-reader:latest"], ["of type prod-ready"]),
        (["fetch", "--project", "nowhere"], ["project lab/nowhere", "no version"]),
        (["lineage", "yesterday"], ["paragraph-reader:yesterday", "v0 ("]),
        (["cleanup", "something:v0"], ["something:v0", "line-reader:v0"]),
        (["train", "--project", "a:b"], ["a:b"]),
    ],
    ids=lambda value: " ".join(value) if "-" not in value[0] else "",
)
def test_what_is_not_there_is_one_line(lab, staged, arguments, words):
    assert_one_line(lab(*arguments), *words)


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
    assert_one_line(lab(command), name, "unset")


# Fetch


def test_fetch_puts_a_version_in_place_and_says_where(lab, staged, home, tmp_path):
    code, out, err = lab("fetch")
    path = home / "staged" / "paragraph_reader.pt"
    assert (code, out.strip()) == (0, str(path)) and "Traceback" not in err
    assert sha256(path) == staged.sha256
    assert ParagraphTextRecognizer(path).predict(ROOT / "data/pages/show_font_002.jpg")
    version = staged.name.partition(":")[2]
    assert staging.fetch(version, tmp_path) == tmp_path / "paragraph_reader.pt"


def test_a_version_without_a_digest_is_not_fetched(lab, past, tmp_path):
    past.staged()
    done = lab("fetch", "--project", past.project, "--out", tmp_path / "out.pt")
    assert_one_line(done, "no SHA-256")
    assert not (tmp_path / "out.pt").exists()


def test_a_manifest_that_leaves_the_folder_is_refused(lab, staged, tmp_path, monkeypatch):
    from wandb import Artifact

    original = Artifact.manifest.fget

    def manifest(self):
        found = original(self)
        found.entries.setdefault("../outside", next(iter(found.entries.values())))
        return found

    monkeypatch.setattr(Artifact, "manifest", property(manifest))
    assert_one_line(lab("fetch", "--out", tmp_path / "x" / "m.pt"), "../outside")
    assert list(tmp_path.iterdir()) == []


# Lineage


def test_a_lineage_with_a_deleted_run_ends_there(past):
    past.staged(past.checkpoint(score=0.1))
    tracker = Tracker(past.project)
    tracker.artifact("v0", names.CHECKPOINT_TYPE).logged_by().delete()
    found = lineage("latest", project=past.project)
    assert found.checkpoint.name == "line-reader:v0"
    assert found.training_run is None and found.data is None


# Cleanup


def everything(past: Past) -> list[str]:
    return [
        f"{names.COLLECTIONS[type]}:{version}"
        for type in (names.STAGED_TYPE, names.CHECKPOINT_TYPE)
        for version in past.aliases(type)
    ]


def test_cleanup_lists_first_and_deletes_with_yes(lab, past):
    """Four checkpoints, staged models of three, the second of them in production: nobody needs v0
    of both. A project may be named with its entity."""
    logged = [past.checkpoint(score=score) for score in (0.3, 0.2, 0.1, 0.4)]
    mark_best(Tracker(past.project))
    for checkpoint, aliases in zip(logged, ((), ("production",), ()), strict=False):
        past.staged(checkpoint, aliases)
    before, project = everything(past), f"lab/{past.project}"
    for name in ("paragraph-reader:production", "line-reader:v1"):
        assert_one_line(lab("cleanup", name, "--yes", "--project", project), "stays")
    kept = {one.name: one.kept_because for one in staging.cleanup(keep=3, project=project).versions}
    assert kept["paragraph-reader:v0"] == "one of the newest 3"
    assert kept["line-reader:v0"] == "paragraph-reader:v0 descends from it"
    code, out, err = lab("cleanup", "--project", project)
    assert code == 0 and "--yes" in err and everything(past) == before
    gone = [line.split()[1] for line in out.splitlines() if line.startswith("delete ")]
    assert gone == ["paragraph-reader:v0", "line-reader:v0"]
    assert "line-reader:v1  (paragraph-reader:v1 descends from it)" in out
    assert "line-reader:v2  (best)" in out
    code, out, err = lab("cleanup", "--project", project, "--yes")
    assert (code, err) == (0, "")
    assert everything(past) == [name for name in before if name not in gone]


def test_a_version_that_is_promoted_meanwhile_is_not_deleted(past, monkeypatch):
    past.checkpoint(score=0.1)
    past.checkpoint(score=0.2)
    from wandb import Artifact

    original = Artifact.delete

    def promoted_first(artifact):
        again = Tracker(past.project).artifact("v0", names.CHECKPOINT_TYPE)
        again.aliases.append("rescued")
        again.save()
        original(artifact)

    monkeypatch.setattr(Artifact, "delete", promoted_first)
    with pytest.raises(staging.StagingError, match="has the alias 'rescued'"):
        staging.cleanup(yes=True, project=past.project)
    assert everything(past) == ["line-reader:v1", "line-reader:v0"]


# In processes of their own


def python(home: Path, *arguments: object, **settings: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if "WANDB" not in k and "LAB_" not in k}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment | {"LAB_HOME": str(home)} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


LAB = ("-m", "lab_utils.cli")


def test_a_wrong_key_is_one_line(home, tmp_path):
    server = tracking.connect()
    settings = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "HOME": str(tmp_path)}
    process = python(home, *LAB, "fetch", "--out", tmp_path / "m.pt", **settings)
    out, err = process.communicate(timeout=60)
    assert_one_line((process.returncode, out, err), "refused the key", "WANDB_API_KEY")
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.nightly
def test_lab_run_in_a_process_of_its_own(tmp_path):
    process = python(tmp_path, *LAB, "run")
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    assert_shows(out, pages=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "delay"),
    [
        ("upload", 0.15),
        *(
            pytest.param(step, delay, marks=pytest.mark.nightly)
            for step in ("compile", "parity", "upload", "verify", "promote")
            for delay in (0.0, 0.4)
        ),
    ],
)
def test_killed_at_any_point_nothing_is_served_that_is_not_whole(
    home, trained, tmp_path, step, delay
):
    code = "from lab_utils import staging; staging.stage(pages=1, promote=True, on_step=say)"
    say = "import sys; say = lambda step: print(step, file=sys.stderr, flush=True)\n"
    process = python(home, "-c", say + code)
    for line in process.stderr:
        if line.strip() == step:
            break
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for version, aliases in staged_versions(Tracker()):
        if len(aliases) > 1:
            staging.fetch(version, tmp_path / f"{version}.pt")
            ParagraphTextRecognizer(tmp_path / f"{version}.pt")
