"""Staging with the real SDK, over a tracker of its own: what each step and its command promise and
refuse, and that a broken link is named."""

import base64
import hashlib
import os
import pickle
import re
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import python_process
from PIL import Image
from test_paragraph_text_recognizer import Trap
from tracking_client import Client

import lab_tracker as tracking
from lab_utils import staging
from lab_utils.lessons.staging_with_wandb.figures import lineage_graph
from lab_utils.staging import compiling, names, pipeline
from lab_utils.staging.parity import Parity, compare
from lab_utils.staging.tracker import Tracker
from lab_utils.staging.training import mark_best
from text_recognizer.errors import ModelFileError
from text_recognizer.evaluate import load_items
from text_recognizer.files import sha256
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import SAMPLE_PAGES
from text_recognizer.train.checkpoint import load_reader_checkpoint
from text_recognizer.train.finder import FinderTraining
from text_recognizer.train.fine_tune import fine_tune
from text_recognizer.train.reader import ReaderTraining
from text_recognizer.train.sample_lines import SampleLines

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
        tracking.connect()
        yield folder
        tracking.disconnect()


@pytest.fixture(scope="module")
def handed_off(home, tmp_path_factory):
    """The whole way once, with few lines to validate on and one page to compare and to read."""
    out = tmp_path_factory.mktemp("out") / "model.pt"
    with pytest.MonkeyPatch.context() as patch:
        few = {"pages": 1, "validation_pages": 1, "max_width": 256}
        patch.setattr(pipeline, "train", lambda steps, **o: staging.train(steps, **(o | few)))
        patch.setattr(pipeline, "stage", partial(staging.stage, pages=1))
        return staging.hand_off(steps=1, pages=1, out=out)


@pytest.fixture
def trained(handed_off):
    return handed_off.trained


@pytest.fixture
def staged(handed_off):
    return handed_off.staged


@pytest.fixture
def checkpoint(trained, tmp_path) -> Path:
    """The file of the trained checkpoint, as the tracker has it."""
    path = tmp_path / "a" / "line_reader.ckpt"
    Tracker().download(trained, names.CHECKPOINT_FILE, path, trained.metadata["sha256"])
    return path


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
        found = self._client.versions(names.COLLECTIONS[type], self.project)
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
    assert handed_off.file.stat().st_size == staged.size <= 0.4 * trained.size
    assert staged.metadata["checkpoint"] == trained.name
    assert set(trained.aliases) == {"best", "latest"}


def test_the_records_lead_back_to_the_data(lab, trained, staged, checkpoint):
    found = staging.lineage(staged.name.partition(":")[2])
    assert found.is_complete and found.staged.name == staged.name
    assert (found.staging_run.job_type, found.checkpoint.name) == ("stage", trained.name)
    assert found.training_run.id == trained.logged_by().id
    assert found.training_run.summary["cer"] == pytest.approx(trained.metadata["score"])
    assert found.training_run.config["learning_rate"] == 1e-5
    assert found.data.type == "dataset" and found.data.metadata["pages"]["train"] == 1
    made, read = found.staged.metadata, found.checkpoint.metadata
    assert made["config"]["max_steps"] == 1 and read["step"] == 1
    assert made["parity"]["holds"] and made["parity"]["largest_logit_difference"] < 1e-3
    assert made["bytes"] == {"checkpoint": trained.size, "torchscript": staged.size}
    for name, digest in read["packaged_weights"].items():
        assert digest == sha256(ROOT / "data" / "weights" / name)
    assert made["versions"]["torch"] == read["versions"]["torch"] == torch.__version__
    assert dict(load_reader_checkpoint(checkpoint).hparams)["learning_rate"] == 1e-5
    code, out, err = lab("lineage", found.staged.name)
    assert (code, err, len(out.splitlines())) == (0, "", 6)
    picture = lineage_graph([found], marked=[found.staged.name])
    assert all(one in picture for one in (trained.name, "learning rate 1e-05", "marked"))


def test_a_link_that_breaks_is_named(handed_off, home, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "train", lambda *_, **__: handed_off.trained)
    monkeypatch.setattr(pipeline, "stage", lambda *_, **__: handed_off.staged)
    blobs = (home / "wandb" / "blobs").rglob("*")
    [blob] = [path for path in blobs if path.stat().st_size == handed_off.staged.size]
    content = blob.read_bytes()
    try:
        blob.write_bytes(content[:-1] + b"?")
        with pytest.raises(staging.StagingError, match="^download: .*damaged"):
            staging.hand_off(out=tmp_path / "model.pt")
    finally:
        blob.write_bytes(content)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="^read: "):
        staging.hand_off(out=tmp_path / "out.pt")


def test_a_damaged_model_is_no_surprise(lab, tmp_path, monkeypatch):
    damaged, version = tmp_path / "model.pt", SimpleNamespace(name="x:v0")
    damaged.write_bytes(b"no model")
    monkeypatch.setattr(pipeline, "train", lambda *_, **__: version)
    monkeypatch.setattr(pipeline, "stage", lambda *_, **__: version)
    monkeypatch.setattr(pipeline, "fetch", lambda *_, **__: damaged)
    code, _, err = lab("run")
    assert code == 2 and err.startswith("lab: read: ") and "model.pt is not a model file" in err
    assert err.count("\n") == 1


def test_lab_run_shows_links_and_pages(handed_off, lab, monkeypatch):
    def hand_off(on_link, **_):
        for link, seconds in handed_off.seconds.items():
            on_link(link, seconds)
        [page] = handed_off.pages
        return replace(handed_off, pages=[replace(page, lines=1)])

    monkeypatch.setattr(staging, "hand_off", hand_off)
    code, out, err = lab("run")
    assert (code, err) == (0, "")
    assert re.findall(r"^(\w[\w ]*?) +[\d.]+ s$", out, re.MULTILINE) == LINKS
    assert re.search(r": [\d.]+ s, 1 line, CER 0\.0", out)


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
    assert run.state == "failed" and set(run.tags) == {"a", "b"}
    assert [a for a in run.logged_artifacts() if a.type == names.CHECKPOINT_TYPE] == []


def foreign(kind: str, path: Path) -> Path:
    """A file that is not a checkpoint of the line reader."""
    training = FinderTraining() if kind == "another network" else ReaderTraining()
    state, config = training.state_dict(), {}
    if kind == "not finite":
        state["reader.head.bias"][0] = float("inf")
    torch.save({"state_dict": state, "hyper_parameters": config}, path)
    if kind == "a bomb":
        path.write_bytes(pickle.dumps(Trap("exploded")))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("another network", "another model"),
        ("not finite", "not finite"),
        ("a bomb", "no Lightning checkpoint"),
    ],
)
def test_a_foreign_checkpoint_is_refused_in_one_sentence(kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError, match=message):
        load_reader_checkpoint(foreign(kind, tmp_path / "x.ckpt"))
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(ModelFileError, match="There is no checkpoint"):
        load_reader_checkpoint(tmp_path / "none.ckpt")


def test_the_checkpoint_kept_is_that_of_the_lowest_cer(tmp_path, monkeypatch):
    rates = iter([0.5, 0.2, 0.4])

    def on_validation_epoch_end(self):
        self.log("cer", next(rates))

    monkeypatch.setattr(ReaderTraining, "on_validation_epoch_end", on_validation_epoch_end)
    data = SampleLines(
        lines=2, batches_per_epoch=1, train_pages=1, validation_pages=1, max_width=256
    )
    tuned = fine_tune(data, tmp_path / "x.ckpt", steps=3, learning_rate=1e-5)
    assert (tuned.cer, tuned.step) == (pytest.approx(0.2), 2)
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["global_step"] == 2


# Stage


def test_a_model_that_reads_otherwise_is_not_staged(lab, staged, monkeypatch):
    before = staged_versions(Tracker())
    other = Parity(1, 5, ["page.jpg"], 3.0, 0.01, 0.5)
    monkeypatch.setattr(compiling, "_compare", lambda *_: other)
    monkeypatch.setattr(ReaderTraining, "to_torchscript", lambda *_: None)
    assert_one_line(lab("stage", "--promote"), "not staged", "page.jpg")
    assert staged_versions(Tracker()) == before
    [newest] = [r for r in Tracker().api.runs(Tracker().path, order="-created_at")][:1]
    assert (newest.job_type, newest.state) == ("stage", "failed")


def test_parity_fails_if_other_weights_read(handed_off, checkpoint, tmp_path):
    """No tolerance lets NaN through."""
    training = load_reader_checkpoint(checkpoint)
    model = ParagraphTextRecognizer(handed_off.file).model
    [page] = load_items(SAMPLE_PAGES, split="show", limit=1)
    with Image.open(page.path) as image:  # its first lines read as well, and faster
        image.crop((0, 0, image.width, image.height // 4)).save(tmp_path / page.path.name)
    pages = [replace(page, path=tmp_path / page.path.name)]
    for shift, tolerance in ((30.0, 1e-2), (float("nan"), 1e9)):
        with torch.no_grad():
            training.reader.head.bias[5] += shift
        parity = compare(training.paragraph_reader(), model, pages, tolerance)
        assert not parity.holds and parity.pages_that_differ == [pages[0].file]
        assert parity.largest_logit_difference == pytest.approx(shift, abs=0.1, nan_ok=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stage", "--checkpoint", "worst"], ["line-reader:worst", "v0 (", "best"]),
        (["fetch", "line-reader:latest"], ["of type prod-ready"]),
        (["fetch", "--project", "nowhere"], ["project lab/nowhere", "no version"]),
        (["lineage", "yesterday"], ["paragraph-reader:yesterday", "v0 ("]),
        (["cleanup", "something:v0"], ["something:v0", "lab cleanup"]),
        (["train", "--project", "a:b"], ["'a:b' is not a project", "ENTITY/NAME"]),
        (["train", "--project", "a/b/c"], ["'a/b/c' is not a project", "without / "]),
        (["fetch", "--project", "../x"], ["'../x' is not a project", "not only dots"]),
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
    assert sha256(path) == staged.metadata["sha256"]
    version = staged.name.partition(":")[2]
    assert staging.fetch(version, tmp_path) == tmp_path / "paragraph_reader.pt"


def test_a_version_without_a_digest_is_not_fetched(lab, past, tmp_path):
    past.staged()
    done = lab("fetch", "--project", past.project, "--out", tmp_path / "out.pt")
    assert_one_line(done, "no SHA-256")
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "C:\\x", "a\\..\\..\\x", "x\0y"])
def test_a_manifest_that_leaves_the_folder_is_refused(lab, staged, tmp_path, monkeypatch, path):
    from wandb import Artifact

    original = Artifact.manifest.fget

    def manifest(self):
        found = original(self)
        found.entries.setdefault(path, next(iter(found.entries.values())))
        return found

    monkeypatch.setattr(Artifact, "manifest", property(manifest))
    assert_one_line(lab("fetch", "--out", tmp_path / "x" / "m.pt"), "leads out of its folder")
    assert list(tmp_path.iterdir()) == []


CONTENT = bytes(range(256)) * 5000


def artifact_at(url: str) -> SimpleNamespace:
    """A stand-in for an artifact of one file, CONTENT, that a server of the test delivers."""
    digest = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    entry = SimpleNamespace(size=len(CONTENT), digest=digest, ref=None)
    file = SimpleNamespace(name="model.pt", direct_url=url)
    return SimpleNamespace(
        source_name="x:v0",
        manifest=SimpleNamespace(entries={"model.pt": entry}),
        files=lambda **_: [file],
    )


def not_found(connection, _):
    connection.sendall(b"HTTP/1.1 404 X\r\n\r\n")


def cut_off(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT))
    connection.sendall(CONTENT[:1000])


def endless(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT)
    while True:
        connection.sendall(CONTENT)


def to_a_file(connection, _):
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (CONTENT[::-1], "is damaged"),
        (endless, "is damaged"),
        (cut_off, r"after 1000 of 1280000 bytes"),
        (not_found, "status 404"),
        (to_a_file, "file://"),
    ],
    ids=["other bytes", "endless", "cut off", "not found", "to a file"],
)
def test_a_bad_download_changes_nothing(home, serve, tmp_path, answer, message):
    target = tmp_path / "model.pt"
    target.write_bytes(b"what was there")
    with pytest.raises(staging.StagingError, match=message) as error:
        url = f"{serve(answer).url}/?signature=secret"
        Tracker().download(artifact_at(url), "model.pt", target)
    assert "\n" not in str(error.value) and "secret" not in str(error.value)
    assert target.read_bytes() == b"what was there" and list(tmp_path.iterdir()) == [target]


def test_no_proxy_is_needed_for_the_tracker_on_this_machine(home, serve, tmp_path, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks4://127.0.0.1:9")  # httpx can't make anything of it
    Tracker().download(artifact_at(serve(CONTENT).url), "model.pt", tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == CONTENT


def test_a_file_without_an_address_is_one_sentence(home, tmp_path):
    with pytest.raises(staging.StagingError, match="no address for model.pt"):
        Tracker().download(artifact_at(None), "model.pt", tmp_path / "model.pt")


def test_a_full_disk_of_the_tracker_is_named(home):
    said = "requesting upload URLs failed: returned error 413: database or disk is full"
    with pytest.raises(staging.StagingError, match="http://.* is full; free"), Tracker().asking():
        raise ValueError(said)


# Lineage


def test_a_lineage_with_a_deleted_run_ends_there(past):
    past.staged(past.checkpoint(score=0.1))
    tracker = Tracker(past.project)
    tracker.artifact("v0", names.CHECKPOINT_TYPE).logged_by().delete()
    found = staging.lineage("latest", project=past.project)
    assert found.checkpoint.name == "line-reader:v0"
    assert found.table().count("deleted, or never recorded") == 2 and not found.is_complete


# Cleanup


def everything(past: Past) -> list[str]:
    return [
        f"{names.COLLECTIONS[type]}:{version}"
        for type in (names.STAGED_TYPE, names.CHECKPOINT_TYPE)
        for version in past.aliases(type)
    ]


def test_cleanup_lists_first_and_deletes_with_yes(lab, past):
    """Three checkpoints and staged models of two, the second of them in production: nobody needs v0
    of both. A project may be named with its entity."""
    logged = [past.checkpoint(score=score) for score in (0.3, 0.2, 0.1)]
    mark_best(Tracker(past.project))
    past.staged(logged[0])
    past.staged(logged[1], ("production",))
    past.staged()
    before, project = everything(past), f"lab/{past.project}"
    done = lab("cleanup", "line-reader:v1", "--yes", "--project", project)
    assert_one_line(done, "stays: paragraph-reader:v1 descends from it")
    kept = {one.name: one.kept_because for one in staging.cleanup(keep=3, project=project).versions}
    assert kept["paragraph-reader:v0"] == "one of the newest 3"
    code, out, err = lab("cleanup", "--project", project)
    assert code == 0 and "--yes" in err and everything(past) == before
    gone = [line.split()[1] for line in out.splitlines() if line.startswith("delete ")]
    assert gone == ["paragraph-reader:v0", "line-reader:v0"]
    assert "line-reader:v1  (paragraph-reader:v1 descends from it)" in out
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


def python(home: Path, *arguments: object, **settings: str):
    """A `python_process` with this folder and these settings, and none of ours."""
    environment = {k: v for k, v in os.environ.items() if "WANDB" not in k and "LAB_" not in k}
    environment |= {"LAB_HOME": str(home), "PYTHONPATH": str(ROOT)} | settings
    return python_process(*arguments, env=environment, start_new_session=True)


def test_a_wrong_key_is_one_line(home, tmp_path):
    server = tracking.connect()
    settings = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "HOME": str(tmp_path)}
    command = ("-m", "lab_utils.cli", "fetch", "--out", tmp_path / "m.pt")
    with python(home, *command, **settings) as process:
        out, err = process.communicate(timeout=60)
    assert_one_line((process.returncode, out, err), "refused the key", "WANDB_API_KEY")
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.nightly
@pytest.mark.parametrize("step", ["compile", "parity", "upload", "verify", "promote"])
@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4])
def test_killed_at_any_point_nothing_is_served_that_is_not_whole(
    home, trained, tmp_path, step, delay
):
    code = "from lab_utils import staging; staging.stage(pages=1, promote=True, on_step=say)"
    say = "import sys; say = lambda step: print(step, file=sys.stderr, flush=True)\n"
    with python(home, "-c", say + code) as process:
        for line in process.stderr:
            if line.strip() == step:
                break
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
    for version, aliases in staged_versions(Tracker()):
        if len(aliases) > 1:
            staging.fetch(version, tmp_path / f"{version}.pt")
            ParagraphTextRecognizer(tmp_path / f"{version}.pt")
