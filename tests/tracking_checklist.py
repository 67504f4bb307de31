"""What the lab asks of a W&B server, as numbered steps with the real SDK: the contract.

Run as a program in a process of its own, it prints one JSON line a step. The server is the lab's
own, or wandb.ai where WANDB_API_KEY is set; the steps are the same."""

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

Lab = SimpleNamespace  # what earlier steps leave for later ones
STEPS: dict[str, Callable[[Lab], None]] = {}


def step(function: Callable[[Lab], None]) -> Callable[[Lab], None]:
    """Adds a step to the checklist, in the order of the file."""
    STEPS[f"{len(STEPS) + 1:02d}_{function.__name__}"] = function
    return function


def eventually(condition: Callable[[], object], seconds: float = 30) -> None:
    """Waits until a condition holds: wandb.ai shows what was written a little later."""
    end = time.monotonic() + seconds
    while True:
        failure: object = "the condition is false"
        try:
            if condition():
                return
        except Exception as error:
            failure = error
        assert time.monotonic() < end, f"after {seconds} s: {failure}"
        time.sleep(0.2)


def refused(call: Callable[[], object], kind: type[Exception] = Exception) -> str:
    """The message of the error that a call must give, soon."""
    start = time.monotonic()
    try:
        call()
    except kind as error:
        assert time.monotonic() - start < 60, "it was refused, but late"
        return str(error)
    raise AssertionError("it was accepted")


def file(lab: Lab, name: str, content: bytes) -> str:
    path = lab.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def fresh_api(lab: Lab) -> object:
    import wandb

    return wandb.Api(timeout=30)


def online_run(lab: Lab) -> object:
    return fresh_api(lab).run(f"{lab.entity}/{lab.project}/{lab.run_id}")


def artifact_of(lab: Lab, name: str, type: str | None = None) -> object:
    return fresh_api(lab).artifact(f"{lab.entity}/{lab.project}/{name}", type=type)


def logged(lab: Lab, run: object, name: str, content: bytes, **options: object) -> object:
    """Logs an artifact of one file and waits for it."""
    import wandb

    metadata = options.pop("metadata", None)
    artifact = wandb.Artifact(name, type="model", metadata=metadata)
    artifact.add_file(file(lab, f"{name}/{uuid.uuid4()}", content), name="model.ckpt")
    return run.log_artifact(artifact, **options).wait()


@contextlib.contextmanager
def new_run(lab: Lab, **options: object):
    import wandb

    with wandb.init(entity=lab.entity, project=lab.project, **options) as run:
        yield run


# A run


@step
def connect_gives_a_server(lab: Lab) -> None:
    import lab_tracker as tracking

    has_key = bool(os.environ.get("WANDB_API_KEY"))
    before = dict(os.environ)
    lab.connection = tracking.connect()
    assert lab.connection.is_local is not has_key
    assert not has_key or dict(os.environ) == before


@step
def init_starts_a_run(lab: Lab) -> None:
    import wandb

    lab.run = wandb.init(
        project=lab.project,
        config={"learning_rate": 3e-4, "layers": [1, 2], "nested": {"a": "b"}},
        job_type="train",
        group="contract",
        tags=["one", "two"],
        notes="a note",
        name="first run",
    )
    lab.run_id, lab.entity = lab.run.id, lab.run.entity
    assert lab.run.url.endswith(f"/{lab.project}/runs/{lab.run_id}")


@step
def config_changes_in_a_run(lab: Lab) -> None:
    lab.run.config.update({"batch_size": 16})
    lab.run.config["seed"] = 7


@step
def metrics_are_logged(lab: Lab) -> None:
    lab.run.define_metric("val/cer", summary="min")
    for i in range(200):
        lab.run.log({"train/loss": 1 / (i + 1), "val/cer": abs(i - 150) / 150})


@step
def a_step_is_logged_in_parts(lab: Lab) -> None:
    lab.run.log({"part/a": 1}, commit=False)
    lab.run.log({"part/b": 2})


@step
def odd_values_are_logged(lab: Lab) -> None:
    odd = {"nan": math.nan, "inf": math.inf, "text": "<script>é✓</script>", "flag": True}
    lab.run.log({f"odd/{key}": value for key, value in odd.items()}, step=300)


@step
def an_image_is_logged(lab: Lab) -> None:
    import wandb
    from PIL import Image

    lab.run.log({"page": wandb.Image(Image.new("RGB", (32, 16), "gray"), caption="a page")})


@step
def a_table_is_logged(lab: Lab) -> None:
    import wandb

    table = wandb.Table(columns=["image", "text"], data=[["a.png", "words"], ["b.png", "more"]])
    lab.run.log({"predictions": table})


@step
def a_histogram_is_logged(lab: Lab) -> None:
    import wandb

    lab.run.log({"lengths": wandb.Histogram([1, 2, 2, 3])})


@step
def summary_is_set(lab: Lab) -> None:
    lab.run.summary["best"] = 0.125


@step
def a_file_is_saved(lab: Lab) -> None:
    path = file(lab, "notes/read me.txt", b"kept with the run")
    lab.run.save(path, base_path=str(lab.folder), policy="now")


@step
def code_is_logged(lab: Lab) -> None:
    file(lab, "source/train.py", b"print('training')\n")
    assert lab.run.log_code(str(lab.folder / "source")) is not None


@step
def an_alert_is_sent(lab: Lab) -> None:
    lab.run.alert(title="a title", text="a text")


# Artifacts


@step
def an_artifact_is_logged(lab: Lab) -> None:
    first = logged(
        lab, lab.run, "checkpoint", b"first" * 1000, aliases=["best"], metadata={"cer": 0.5}
    )
    assert (first.version, first.state) == ("v0", "COMMITTED")
    assert {"best", "latest"} <= set(first.aliases)
    assert first.metadata == {"cer": 0.5}
    assert (first.size, first.file_count) == (5000, 1)


@step
def the_same_bytes_make_no_new_version(lab: Lab) -> None:
    assert logged(lab, lab.run, "checkpoint", b"first" * 1000).version == "v0"


@step
def other_bytes_make_the_next_version_and_aliases_move(lab: Lab) -> None:
    second = logged(lab, lab.run, "checkpoint", b"second" * 1000, aliases=["best"])
    assert second.version == "v1"
    assert {"best", "latest"} <= set(second.aliases)
    assert set(artifact_of(lab, "checkpoint:v0").aliases) == set()


@step
def a_folder_is_logged(lab: Lab) -> None:
    import wandb

    for i in range(20):
        file(lab, f"pages/part {i % 3}/é{i}.txt", f"page {i % 10}".encode())
    artifact = wandb.Artifact("pages", type="dataset", description="twenty pages")
    artifact.add_dir(str(lab.folder / "pages"))
    done = lab.run.log_artifact(artifact).wait()
    assert (done.file_count, done.description) == (20, "twenty pages")


@step
def a_reference_is_logged(lab: Lab) -> None:
    import wandb

    artifact = wandb.Artifact("elsewhere", type="dataset")
    artifact.add_reference("https://example.org/data.zip", name="data.zip", checksum=False)
    lab.run.log_artifact(artifact).wait()
    entry = artifact_of(lab, "elsewhere:latest").manifest.entries["data.zip"]
    assert entry.ref == "https://example.org/data.zip"


@step
def a_file_of_another_artifact_is_referred_to(lab: Lab) -> None:
    import wandb

    entry = artifact_of(lab, "checkpoint:v1").get_entry("model.ckpt")
    artifact = wandb.Artifact("borrower", type="model")
    artifact.add_reference(entry, name="borrowed.ckpt")
    lab.run.log_artifact(artifact).wait()
    folder = artifact_of(lab, "borrower:latest").download(str(lab.folder / "borrowed"))
    assert Path(folder, "borrowed.ckpt").read_bytes() == b"second" * 1000


@step
def an_empty_file_and_a_large_one_are_logged(lab: Lab) -> None:
    import wandb

    lab.large = os.urandom(5_000_000)
    artifact = wandb.Artifact("sizes", type="dataset")
    artifact.add_file(file(lab, "sizes/empty", b""))
    artifact.add_file(file(lab, "sizes/large", lab.large))
    assert lab.run.log_artifact(artifact).wait().size == 5_000_000


@step
def a_run_finishes(lab: Lab) -> None:
    lab.run.finish()
    eventually(lambda: online_run(lab).state == "finished")


@step
def a_run_that_breaks_is_failed(lab: Lab) -> None:
    import wandb

    run = wandb.init(project=lab.project, job_type="broken")
    run.finish(exit_code=3)
    path = f"{lab.entity}/{lab.project}/{run.id}"
    eventually(lambda: fresh_api(lab).run(path).state == "failed")


@step
def a_run_is_resumed(lab: Lab) -> None:
    import wandb

    run = wandb.init(project=lab.project, id=lab.run_id, resume="must")
    assert run.starting_step > 300 and run.config["seed"] == 7
    run.log({"train/loss": 0.001, "resumed": 1})
    run.finish()
    eventually(lambda: online_run(lab).summary.get("resumed") == 1)


@step
def two_runs_are_open_at_once(lab: Lab) -> None:
    import wandb

    pair = [
        wandb.init(project=lab.project, reinit="create_new", name=f"twin {i}") for i in range(2)
    ]
    for i, run in enumerate(pair):
        run.log({"which": i})
    for run in pair:
        run.finish()
    for i, run in enumerate(pair):
        path = f"{lab.entity}/{lab.project}/{run.id}"
        eventually(lambda i=i, path=path: fresh_api(lab).run(path).summary["which"] == i)


# Lineage


@step
def another_run_uses_the_artifact_by_alias(lab: Lab) -> None:
    with new_run(lab, job_type="stage") as run:
        lab.stage_id = run.id
        artifact = run.use_artifact("checkpoint:best")
        assert artifact.version == "v1"
        content = Path(artifact.download(str(lab.folder / "fetched")), "model.ckpt").read_bytes()
        assert content == b"second" * 1000
        logged(lab, run, "staged", b"compiled" * 1000, aliases=["production"])


@step
def an_artifact_knows_the_run_that_logged_it(lab: Lab) -> None:
    run = artifact_of(lab, "checkpoint:best").logged_by()
    assert run.id == lab.run_id and run.config["seed"] == 7
    assert artifact_of(lab, "staged:production").logged_by().id == lab.stage_id


@step
def an_artifact_knows_the_runs_that_used_it(lab: Lab) -> None:
    used = artifact_of(lab, "checkpoint:v1").used_by()
    assert lab.stage_id in [run.id for run in used]
    assert artifact_of(lab, "checkpoint:v0").used_by() == []


@step
def a_run_knows_what_it_used_and_logged(lab: Lab) -> None:
    run = fresh_api(lab).run(f"{lab.entity}/{lab.project}/{lab.stage_id}")
    assert [a.name for a in run.used_artifacts()] == ["checkpoint:v1"]
    assert [a.name for a in run.logged_artifacts() if a.type == "model"] == ["staged:v0"]


@step
def lineage_is_noted_after_the_run(lab: Lab) -> None:
    run = fresh_api(lab).run(f"{lab.entity}/{lab.project}/{lab.stage_id}")
    run.use_artifact(artifact_of(lab, "pages:v0"))
    eventually(lambda: "pages:v0" in [a.name for a in run.used_artifacts()])


@step
def a_draft_is_used_in_the_run_that_logs_it(lab: Lab) -> None:
    import wandb

    with new_run(lab, job_type="draft") as run:
        artifact = wandb.Artifact("scratch", type="dataset")
        artifact.add_file(file(lab, "scratch.txt", b"scratch"))
        run.use_artifact(artifact).wait()
    assert run.id in [user.id for user in artifact_of(lab, "scratch:latest").used_by()]


# Reading runs


@step
def config_and_summary_are_read(lab: Lab) -> None:
    run = online_run(lab)
    assert run.config["learning_rate"] == 3e-4 and run.config["layers"] == [1, 2]
    assert run.config["nested"] == {"a": "b"} and run.config["batch_size"] == 16
    assert run.summary["best"] == 0.125 and run.summary["train/loss"] == 0.001
    assert run.summary["val/cer"]["min"] == 0
    assert (run.name, run.job_type, run.group) == ("first run", "train", "contract")
    assert set(run.tags) == {"one", "two"} and run.notes == "a note"


@step
def history_is_read_whole(lab: Lab) -> None:
    rows = [row for row in online_run(lab).scan_history() if row.get("val/cer") is not None]
    assert [row["_step"] for row in rows] == list(range(200))
    assert rows[150]["val/cer"] == 0


@step
def history_is_read_by_key_and_range(lab: Lab) -> None:
    run = online_run(lab)
    keys = ["_step", "train/loss"]
    steps = [row["_step"] for row in run.scan_history(keys=keys, min_step=10, max_step=20)]
    assert steps[:10] == list(range(10, 20))
    assert steps[10:] in ([], [20])  # old SDKs take the end of a range, and of a page, along
    assert len({row["_step"] for row in run.scan_history(page_size=7, keys=keys)}) == 201


@step
def history_is_read_sampled(lab: Lab) -> None:
    run = online_run(lab)
    assert 10 <= len(run.history(samples=50, pandas=False)) <= 60
    rows = run.history(keys=["train/loss"], samples=1000, pandas=False)
    assert len(rows) == 201 and rows[0]["train/loss"] == 1


@step
def odd_values_are_read(lab: Lab) -> None:
    [row] = [row for row in online_run(lab).scan_history() if row.get("odd/text")]
    assert row["odd/text"] == "<script>é✓</script>" and row["odd/flag"] is True
    assert str(row["odd/nan"]).lower() == "nan"
    [row] = [row for row in online_run(lab).scan_history() if row.get("part/a")]
    assert row["part/b"] == 2


@step
def media_are_read(lab: Lab) -> None:
    run = online_run(lab)
    assert run.summary["page"]["_type"] == "image-file"
    assert run.summary["lengths"]["_type"] == "histogram"
    assert run.summary["page"]["path"] in [f.name for f in run.files()]


@step
def files_are_listed_and_downloaded(lab: Lab) -> None:
    run = online_run(lab)
    assert {"config.yaml", "wandb-metadata.json", "wandb-summary.json"} <= {
        f.name for f in run.files()
    }
    saved = run.file("notes/read me.txt")
    saved.download(str(lab.folder / "down"), replace=True).close()
    assert (lab.folder / "down/notes/read me.txt").read_bytes() == b"kept with the run"
    assert run.metadata["python"]


@step
def a_file_is_uploaded_and_deleted_later(lab: Lab) -> None:
    run = online_run(lab)
    path = file(lab, "late.txt", b"late")
    run.upload_file(path, root=str(lab.folder))
    eventually(lambda: "late.txt" in [f.name for f in online_run(lab).files()])
    run.file("late.txt").delete()
    eventually(lambda: "late.txt" not in [f.name for f in online_run(lab).files()])


@step
def runs_are_found_with_filters(lab: Lab) -> None:
    api, path = fresh_api(lab), f"{lab.entity}/{lab.project}"
    assert [r.id for r in api.runs(path, {"config.seed": 7})] == [lab.run_id]
    assert [r.id for r in api.runs(path, {"jobType": "stage"})] == [lab.stage_id]
    both = {"$and": [{"state": "finished"}, {"summary_metrics.best": {"$lt": 0.2}}]}
    assert [r.id for r in api.runs(path, both)] == [lab.run_id]
    assert lab.run_id not in [r.id for r in api.runs(path, {"state": {"$ne": "finished"}})]
    assert [r.id for r in api.runs(path, order="+created_at")][0] == lab.run_id
    assert len(api.runs(path, per_page=2)) == len(list(api.runs(path, per_page=2)))


@step
def projects_are_listed(lab: Lab) -> None:
    names = [project.name for project in fresh_api(lab).projects(lab.entity)]
    assert lab.project in names


@step
def a_run_is_changed_later(lab: Lab) -> None:
    run = online_run(lab)
    run.config["added"] = 1
    run.tags.append("three")
    run.notes = "another note"
    run.update()
    run.summary["verdict"] = "good"
    run.summary.update()
    again = online_run(lab)
    assert again.config["added"] == 1 and again.config["seed"] == 7
    assert "three" in again.tags and again.notes == "another note"
    assert again.summary["verdict"] == "good" and again.summary["best"] == 0.125
    assert again.state == "finished"


# Reading and changing artifacts


@step
def types_collections_and_versions_are_listed(lab: Lab) -> None:
    api, path = fresh_api(lab), f"{lab.entity}/{lab.project}"
    assert {"model", "dataset"} <= {t.name for t in api.artifact_types(path)}
    names = [c.name for c in api.artifact_type("model", path).collections()]
    assert {"checkpoint", "staged", "borrower"} <= set(names)
    versions = [a.version for a in api.artifacts("model", f"{path}/checkpoint")]
    assert versions == ["v1", "v0"]
    assert api.artifact_collection("model", f"{path}/checkpoint").type == "model"


@step
def existence_is_asked(lab: Lab) -> None:
    api, path = fresh_api(lab), f"{lab.entity}/{lab.project}"
    assert api.artifact_exists(f"{path}/checkpoint:best")
    assert not api.artifact_exists(f"{path}/checkpoint:worst")
    assert not api.artifact_exists(f"{path}/nothing:latest")
    assert api.artifact_collection_exists(f"{path}/checkpoint", "model")


@step
def a_folder_is_downloaded_and_verified(lab: Lab) -> None:
    artifact = artifact_of(lab, "pages:latest")
    folder = Path(artifact.download(str(lab.folder / "pages again")))
    assert (folder / "part 1/é4.txt").read_text() == "page 4"
    artifact.verify(str(folder))
    (folder / "part 1/é4.txt").write_text("changed")
    refused(lambda: artifact.verify(str(folder)), ValueError)


@step
def one_file_is_downloaded(lab: Lab) -> None:
    entry = artifact_of(lab, "sizes:latest").get_entry("large")
    assert Path(entry.download(str(lab.folder / "one"))).read_bytes() == lab.large
    assert len(list(artifact_of(lab, "sizes:latest").files())) == 2


@step
def a_table_is_read(lab: Lab) -> None:
    run = online_run(lab)
    [table] = [a for a in run.logged_artifacts() if a.type == "run_table"]
    assert table.get("predictions").data == [["a.png", "words"], ["b.png", "more"]]


@step
def aliases_are_added_and_removed(lab: Lab) -> None:
    artifact = artifact_of(lab, "checkpoint:v0")
    artifact.aliases.append("old")
    artifact.save()
    assert artifact_of(lab, "checkpoint:old").version == "v0"
    artifact.aliases.remove("old")
    artifact.save()
    assert not fresh_api(lab).artifact_exists(f"{lab.entity}/{lab.project}/checkpoint:old")


@step
def an_alias_moves_from_one_version_to_another(lab: Lab) -> None:
    artifact = artifact_of(lab, "checkpoint:v0")
    artifact.aliases.append("best")
    artifact.save()
    assert "best" not in artifact_of(lab, "checkpoint:v1").aliases
    assert artifact_of(lab, "checkpoint:best").version == "v0"


@step
def metadata_description_and_tags_change(lab: Lab) -> None:
    artifact = artifact_of(lab, "checkpoint:v0")
    artifact.metadata["cer"] = 0.25
    artifact.description = "the first"
    artifact.tags = ["tested"]
    artifact.save()
    again = artifact_of(lab, "checkpoint:v0")
    assert (again.metadata["cer"], again.description) == (0.25, "the first")
    assert again.tags == ["tested"]


@step
def a_new_draft_starts_from_a_version(lab: Lab) -> None:
    with new_run(lab, job_type="edit") as run:
        draft = artifact_of(lab, "pages:v0").new_draft()
        draft.add_file(file(lab, "extra.txt", b"extra"))
        draft.remove("part 0")
        run.log_artifact(draft).wait()
    paths = artifact_of(lab, "pages:latest").manifest.entries
    assert "extra.txt" in paths and "part 1/é1.txt" in paths and "part 0/é0.txt" not in paths
    assert artifact_of(lab, "pages:latest").version == "v1"


@step
def a_version_is_linked_and_unlinked(lab: Lab) -> None:
    staged = artifact_of(lab, "staged:v0")
    staged.link(f"{lab.entity}/{lab.project}/shelf", aliases=["shown"])
    linked = artifact_of(lab, "shelf:shown")
    assert linked.digest == staged.digest and linked.source_name == "staged:v0"
    folder = Path(linked.download(str(lab.folder / "linked")))
    assert (folder / "model.ckpt").read_bytes() == b"compiled" * 1000
    linked.unlink()
    assert not fresh_api(lab).artifact_exists(f"{lab.entity}/{lab.project}/shelf:shown")
    assert artifact_of(lab, "staged:v0").digest == staged.digest


@step
def a_version_is_linked_to_the_registry(lab: Lab) -> None:
    """Not at wandb.ai: there an administrator of the organization makes registries."""
    if lab.connection.is_local:
        staged = artifact_of(lab, "staged:v0")
        staged.link("wandb-registry-model/readers", aliases=["shown"])
        linked = fresh_api(lab).artifact("wandb-registry-model/readers:shown")
        assert (linked.digest, linked.source_name) == (staged.digest, "staged:v0")
        linked.unlink()


# Lightning


@step
def lightning_logs_every_checkpoint(lab: Lab) -> None:
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.callbacks import ModelCheckpoint
    from pytorch_lightning.loggers import WandbLogger

    class Line(pl.LightningModule):
        def __init__(self, width: int = 1) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, 1)

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            loss = (self.layer(batch) - 2 * batch).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    pl.seed_everything(0, verbose=False)
    logger = WandbLogger(
        entity=lab.entity, project=lab.project, log_model="all", save_dir=str(lab.folder)
    )
    checkpoints = ModelCheckpoint(monitor="loss", save_top_k=-1)
    trainer = pl.Trainer(
        max_epochs=3,
        logger=logger,
        callbacks=[checkpoints],
        accelerator="cpu",
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = torch.utils.data.DataLoader(torch.ones(8, 1), batch_size=4)
    trainer.fit(Line(), data)
    lab.lightning_id = logger.experiment.id
    logger.experiment.finish()
    lab.lightning_score = float(checkpoints.best_model_score)


@step
def lightnings_checkpoints_are_versions_with_scores(lab: Lab) -> None:
    path = f"{lab.entity}/{lab.project}/model-{lab.lightning_id}"
    versions = list(fresh_api(lab).artifacts("model", path))
    assert len(versions) == 3
    best = artifact_of(lab, f"model-{lab.lightning_id}:best")
    assert math.isclose(best.metadata["score"], lab.lightning_score, rel_tol=1e-5)
    assert best.logged_by().config["width"] == 1


@step
def lightning_downloads_a_checkpoint(lab: Lab) -> None:
    import torch
    from pytorch_lightning.loggers import WandbLogger

    folder = WandbLogger.download_artifact(
        f"{lab.entity}/{lab.project}/model-{lab.lightning_id}:best",
        save_dir=str(lab.folder / "lightning"),
        artifact_type="model",
    )
    checkpoint = torch.load(Path(folder, "model.ckpt"), weights_only=True)
    assert checkpoint["state_dict"]["layer.weight"].shape == (1, 1)


# What is not there, and what goes away


@step
def what_is_missing_is_told_at_once(lab: Lab) -> None:
    api, path = fresh_api(lab), f"{lab.entity}/{lab.project}"
    assert "nobody" in refused(lambda: api.artifact(f"{path}/checkpoint:nobody"))
    assert "nothing" in refused(lambda: api.artifact(f"{path}/nothing:latest"))
    refused(lambda: api.run(f"{path}/nosuchrun"))
    refused(lambda: list(api.runs(f"{lab.entity}/no-such-project")))
    refused(lambda: online_run(lab).file("no such file").download(str(lab.folder)))


@step
def a_wrong_key_is_told_at_once(lab: Lab) -> None:
    code = "import wandb; wandb.init(project='p', settings=wandb.Settings(init_timeout=90))"
    environment = os.environ | {"WANDB_API_KEY": "0" * 40}
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode != 0 and time.monotonic() - start < 60


@step
def an_artifact_with_an_alias_is_not_deleted(lab: Lab) -> None:
    refused(lambda: artifact_of(lab, "checkpoint:best").delete())
    assert artifact_of(lab, "checkpoint:best").version == "v0"


@step
def an_artifact_is_deleted_with_its_aliases(lab: Lab) -> None:
    artifact_of(lab, "checkpoint:best").delete(delete_aliases=True)
    path = f"{lab.entity}/{lab.project}/checkpoint"
    eventually(lambda: [a.version for a in fresh_api(lab).artifacts("model", path)] == ["v1"])
    assert not fresh_api(lab).artifact_exists(f"{path}:best")


@step
def a_deleted_number_is_not_given_again(lab: Lab) -> None:
    artifact_of(lab, "checkpoint:v1").delete(delete_aliases=True)
    with new_run(lab, job_type="train") as run:
        assert logged(lab, run, "checkpoint", b"third" * 1000).version == "v2"


@step
def a_collection_is_deleted(lab: Lab) -> None:
    collection = fresh_api(lab).artifact_collection(
        "dataset", f"{lab.entity}/{lab.project}/scratch"
    )
    collection.delete()
    eventually(
        lambda: not fresh_api(lab).artifact_exists(f"{lab.entity}/{lab.project}/scratch:latest")
    )


@step
def a_run_is_deleted(lab: Lab) -> None:
    online_run(lab).delete()
    eventually(
        lambda: lab.run_id not in [r.id for r in fresh_api(lab).runs(f"{lab.entity}/{lab.project}")]
    )
    assert artifact_of(lab, "pages:v0").digest  # what it logged stays
    refused(lambda: online_run(lab))


@step
def all_is_deleted(lab: Lab) -> None:
    path = f"{lab.entity}/{lab.project}"
    for run in fresh_api(lab).runs(path):
        run.delete(delete_artifacts=True)
    for type in fresh_api(lab).artifact_types(path):
        for collection in type.collections():
            collection.delete()
    eventually(lambda: len(fresh_api(lab).runs(f"{lab.entity}/{lab.project}")) == 0)


@step
def the_connection_ends(lab: Lab) -> None:
    has_key = not lab.connection.is_local
    lab.connection.close()
    assert ("WANDB_BASE_URL" in os.environ) <= has_key
    assert "WANDB_API_KEY" not in os.environ or has_key


@step
def the_home_folder_is_untouched(lab: Lab) -> None:
    """wandb.ai's own settings may lie there; the lab's tracker leaves nothing."""
    if lab.connection.is_local:
        home = [path for path in Path.home().rglob("*") if path.is_file()]
        assert [path for path in home if "wandb" in str(path) or "netrc" in path.name] == []


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(folder=Path(folder), project=f"lab-contract-{uuid.uuid4().hex[:8]}", entity=None)
        for name, check in STEPS.items():
            start = time.monotonic()
            error = None
            try:
                check(lab)
            except Exception as failure:
                error = f"{type(failure).__name__}: {failure}"
                if os.environ.get("LAB_DEBUG"):
                    import traceback

                    traceback.print_exc()
            seconds = round(time.monotonic() - start, 2)
            line = {"step": name, "seconds": seconds, "error": error}
            print(json.dumps(line), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
