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
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest


def eventually(condition: Callable[[], object]) -> None:
    """Waits until a condition holds: wandb.ai shows what was written a little later."""
    for _ in range(600):
        with contextlib.suppress(Exception):
            if condition():
                return
        time.sleep(0.05)
    assert condition()


def refused(call: Callable[[], object], kind: type[Exception] = Exception) -> str:
    """The message of the error that a call must give."""
    with pytest.raises(kind) as raised:
        call()
    return str(raised.value)


class Tools:
    """What the steps share: names, and short ways to the SDK's public API."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = f"lab-contract-{uuid.uuid4().hex[:8]}"
        self.entity: str | None = None

    @property
    def wandb(self):
        import wandb

        return wandb

    @property
    def api(self):
        """A new one each time: it keeps what it has read."""
        return self.wandb.Api(timeout=30)

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.project}"

    def file(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def init(self, **options):
        return self.wandb.init(entity=self.entity, project=self.project, **options)

    def online(self, run_id: str | None = None):
        """A run as the server shows it; the first one if none is named."""
        return self.api.run(f"{self.path}/{run_id or self.run_id}")

    def artifact(self, name: str):
        return self.api.artifact(f"{self.path}/{name}")

    def exists(self, name: str) -> bool:
        return self.api.artifact_exists(f"{self.path}/{name}")

    def versions(self, name: str, type: str = "model") -> list[str]:
        return [one.version for one in self.api.artifacts(type, f"{self.path}/{name}")]

    def new(self, name: str, type: str = "model", **files: bytes):
        """An artifact that is not logged yet."""
        artifact = self.wandb.Artifact(name, type=type)
        for file, content in files.items():
            artifact.add_file(self.file(f"{name}/{uuid.uuid4()}", content), name=file)
        return artifact

    def log(self, run, name: str, content: bytes, metadata: dict | None = None, **options):
        """Logs an artifact of one file and waits for it."""
        artifact = self.new(name, **{"model.ckpt": content})
        artifact.metadata = metadata or {}
        return run.log_artifact(artifact, **options).wait()


class Steps(Tools):
    """The checklist: every public method is a step, in the order of the file."""

    # A run

    def connect_gives_a_server(self):
        import lab_tracker as tracking

        has_key = bool(os.environ.get("WANDB_API_KEY"))
        before = dict(os.environ)
        self.connection = tracking.connect()
        assert (self.connection.folder is None) is has_key
        assert not has_key or dict(os.environ) == before

    def init_starts_a_run(self):
        self.run = self.wandb.init(
            project=self.project,
            config={"learning_rate": 3e-4, "layers": [1, 2], "nested": {"a": "b"}},
            job_type="train",
            group="contract",
            tags=["one", "two"],
            notes="a note",
            name="first run",
        )
        self.run_id, self.entity = self.run.id, self.run.entity
        assert self.run.url.endswith(f"/{self.project}/runs/{self.run_id}")

    def config_changes_in_a_run(self):
        self.run.config.update({"batch_size": 16})
        self.run.config["seed"] = 7

    def metrics_are_logged(self):
        self.run.define_metric("val/cer", summary="min")
        for i in range(200):
            self.run.log({"train/loss": 1 / (i + 1), "val/cer": abs(i - 150) / 150})

    def a_step_is_logged_in_parts(self):
        self.run.log({"part/a": 1}, commit=False)
        self.run.log({"part/b": 2})

    def odd_values_are_logged(self):
        odd = {"nan": math.nan, "inf": math.inf, "text": "<script>é✓</script>", "flag": True}
        self.run.log({f"odd/{key}": value for key, value in odd.items()}, step=300)

    def an_image_is_logged(self):
        from PIL import Image

        image = self.wandb.Image(Image.new("RGB", (32, 16), "gray"), caption="a page")
        self.run.log({"page": image})

    def a_table_is_logged(self):
        data = [["a.png", "words"], ["b.png", "more"]]
        self.run.log({"predictions": self.wandb.Table(columns=["image", "text"], data=data)})

    def a_histogram_is_logged(self):
        self.run.log({"lengths": self.wandb.Histogram([1, 2, 2, 3])})

    def summary_is_set(self):
        self.run.summary["best"] = 0.125

    def a_file_is_saved(self):
        path = self.file("notes/read me.txt", b"kept with the run")
        self.run.save(path, base_path=str(self.folder), policy="now")

    def code_is_logged(self):
        self.file("source/train.py", b"print('training')\n")
        assert self.run.log_code(str(self.folder / "source")) is not None

    def an_alert_is_sent(self):
        self.run.alert(title="a title", text="a text")

    # Artifacts

    def an_artifact_is_logged(self):
        first = self.log(self.run, "checkpoint", b"first" * 1000, {"cer": 0.5}, aliases=["best"])
        assert (first.version, first.state) == ("v0", "COMMITTED")
        assert {"best", "latest"} <= set(first.aliases)
        assert first.metadata == {"cer": 0.5}
        assert (first.size, first.file_count) == (5000, 1)

    def the_same_bytes_make_no_new_version(self):
        assert self.log(self.run, "checkpoint", b"first" * 1000).version == "v0"

    def other_bytes_make_the_next_version_and_aliases_move(self):
        second = self.log(self.run, "checkpoint", b"second" * 1000, aliases=["best"])
        assert second.version == "v1"
        assert {"best", "latest"} <= set(second.aliases)
        assert set(self.artifact("checkpoint:v0").aliases) == set()

    def a_folder_is_logged(self):
        for i in range(20):
            self.file(f"pages/part {i % 3}/é{i}.txt", f"page {i % 10}".encode())
        artifact = self.wandb.Artifact("pages", type="dataset", description="twenty pages")
        artifact.add_dir(str(self.folder / "pages"))
        done = self.run.log_artifact(artifact).wait()
        assert (done.file_count, done.description) == (20, "twenty pages")

    def a_reference_is_logged(self):
        artifact = self.new("elsewhere", "dataset")
        artifact.add_reference("https://example.org/data.zip", name="data.zip", checksum=False)
        self.run.log_artifact(artifact).wait()
        entry = self.artifact("elsewhere:latest").manifest.entries["data.zip"]
        assert entry.ref == "https://example.org/data.zip"

    def a_file_of_another_artifact_is_referred_to(self):
        artifact = self.new("borrower")
        entry = self.artifact("checkpoint:v1").get_entry("model.ckpt")
        artifact.add_reference(entry, name="borrowed.ckpt")
        self.run.log_artifact(artifact).wait()
        folder = self.artifact("borrower:latest").download(str(self.folder / "borrowed"))
        assert Path(folder, "borrowed.ckpt").read_bytes() == b"second" * 1000

    def an_empty_file_and_a_large_one_are_logged(self):
        self.large = os.urandom(5_000_000)
        artifact = self.new("sizes", "dataset", empty=b"", large=self.large)
        assert self.run.log_artifact(artifact).wait().size == 5_000_000

    def a_run_finishes(self):
        self.run.finish()
        eventually(lambda: self.online().state == "finished")

    def a_run_that_breaks_is_failed(self):
        run = self.init(job_type="broken")
        run.finish(exit_code=3)
        eventually(lambda: self.online(run.id).state == "failed")

    def a_run_is_resumed(self):
        run = self.init(id=self.run_id, resume="must")
        assert run.starting_step > 300 and run.config["seed"] == 7
        run.log({"train/loss": 0.001, "resumed": 1})
        run.finish()
        eventually(lambda: self.online().summary.get("resumed") == 1)

    def two_runs_are_open_at_once(self):
        pair = [self.init(reinit="create_new", name=f"twin {i}") for i in range(2)]
        for i, run in enumerate(pair):
            run.log({"which": i})
        for run in pair:
            run.finish()
        eventually(lambda: [self.online(run.id).summary["which"] for run in pair] == [0, 1])

    # Lineage

    def another_run_uses_the_artifact_by_alias(self):
        with self.init(job_type="stage") as run:
            self.stage_id = run.id
            artifact = run.use_artifact("checkpoint:best")
            assert artifact.version == "v1"
            folder = Path(artifact.download(str(self.folder / "fetched")))
            assert (folder / "model.ckpt").read_bytes() == b"second" * 1000
            self.log(run, "staged", b"compiled" * 1000, aliases=["production"])

    def an_artifact_knows_the_run_that_logged_it(self):
        run = self.artifact("checkpoint:best").logged_by()
        assert run.id == self.run_id and run.config["seed"] == 7
        assert self.artifact("staged:production").logged_by().id == self.stage_id

    def an_artifact_knows_the_runs_that_used_it(self):
        assert self.stage_id in [run.id for run in self.artifact("checkpoint:v1").used_by()]
        assert self.artifact("checkpoint:v0").used_by() == []

    def a_run_knows_what_it_used_and_logged(self):
        run = self.online(self.stage_id)
        assert [a.name for a in run.used_artifacts()] == ["checkpoint:v1"]
        assert [a.name for a in run.logged_artifacts() if a.type == "model"] == ["staged:v0"]

    def lineage_is_noted_after_the_run(self):
        run = self.online(self.stage_id)
        run.use_artifact(self.artifact("pages:v0"))
        eventually(lambda: "pages:v0" in [a.name for a in run.used_artifacts()])

    def a_draft_is_used_in_the_run_that_logs_it(self):
        with self.init(job_type="draft") as run:
            run.use_artifact(self.new("scratch", "dataset", scratch=b"scratch")).wait()
        assert run.id in [user.id for user in self.artifact("scratch:latest").used_by()]

    # Reading runs

    def config_and_summary_are_read(self):
        run = self.online()
        assert run.config["learning_rate"] == 3e-4 and run.config["layers"] == [1, 2]
        assert run.config["nested"] == {"a": "b"} and run.config["batch_size"] == 16
        assert run.summary["best"] == 0.125 and run.summary["train/loss"] == 0.001
        assert run.summary["val/cer"]["min"] == 0
        assert (run.name, run.job_type, run.group) == ("first run", "train", "contract")
        assert set(run.tags) == {"one", "two"} and run.notes == "a note"

    def history_is_read_whole(self):
        rows = [row for row in self.online().scan_history() if row.get("val/cer") is not None]
        assert [row["_step"] for row in rows] == list(range(200))
        assert rows[150]["val/cer"] == 0

    def history_is_read_by_key_and_range(self):
        run, keys = self.online(), ["_step", "train/loss"]
        steps = [row["_step"] for row in run.scan_history(keys=keys, min_step=10, max_step=20)]
        assert steps[:10] == list(range(10, 20))
        assert steps[10:] in ([], [20])  # old SDKs take the end of a range, and of a page, along
        assert len({row["_step"] for row in run.scan_history(page_size=50, keys=keys)}) == 201

    def history_is_read_sampled(self):
        run = self.online()
        assert 10 <= len(run.history(samples=50, pandas=False)) <= 60
        rows = run.history(keys=["train/loss"], samples=1000, pandas=False)
        assert len(rows) == 201 and rows[0]["train/loss"] == 1

    def odd_values_are_read(self):
        rows = list(self.online().scan_history())
        [row] = [row for row in rows if row.get("odd/text")]
        assert row["odd/text"] == "<script>é✓</script>" and row["odd/flag"] is True
        assert str(row["odd/nan"]).lower() == "nan"
        [row] = [row for row in rows if row.get("part/a")]
        assert row["part/b"] == 2

    def media_are_read(self):
        run = self.online()
        assert run.summary["page"]["_type"] == "image-file"
        assert run.summary["lengths"]["_type"] == "histogram"
        assert run.summary["page"]["path"] in [f.name for f in run.files()]

    def files_are_listed_and_downloaded(self):
        run = self.online()
        own = {"config.yaml", "wandb-metadata.json", "wandb-summary.json"}
        assert own <= {f.name for f in run.files()}
        run.file("notes/read me.txt").download(str(self.folder / "down"), replace=True).close()
        assert (self.folder / "down/notes/read me.txt").read_bytes() == b"kept with the run"
        assert run.metadata["python"]

    def a_file_is_uploaded_and_deleted_later(self):
        run = self.online()
        run.upload_file(self.file("late.txt", b"late"), root=str(self.folder))
        eventually(lambda: "late.txt" in [f.name for f in self.online().files()])
        run.file("late.txt").delete()
        eventually(lambda: "late.txt" not in [f.name for f in self.online().files()])

    def runs_are_found_with_filters(self):
        def found(filters: dict | None = None, **options) -> list[str]:
            return [run.id for run in self.api.runs(self.path, filters, **options)]

        assert found({"config.seed": 7}) == [self.run_id]
        assert found({"jobType": "stage"}) == [self.stage_id]
        both = {"$and": [{"state": "finished"}, {"summary_metrics.best": {"$lt": 0.2}}]}
        assert found(both) == [self.run_id]
        assert self.run_id not in found({"state": {"$ne": "finished"}})
        assert found(order="+created_at")[0] == self.run_id
        assert len(self.api.runs(self.path, per_page=2)) == len(found(per_page=2))

    def projects_are_listed(self):
        assert self.project in [project.name for project in self.api.projects(self.entity)]

    def a_run_is_changed_later(self):
        run = self.online()
        run.config["added"] = 1
        run.tags.append("three")
        run.notes = "another note"
        run.update()
        run.summary["verdict"] = "good"
        run.summary.update()
        again = self.online()
        assert again.config["added"] == 1 and again.config["seed"] == 7
        assert "three" in again.tags and again.notes == "another note"
        assert again.summary["verdict"] == "good" and again.summary["best"] == 0.125
        assert again.state == "finished"

    # Reading and changing artifacts

    def types_collections_and_versions_are_listed(self):
        api = self.api
        assert {"model", "dataset"} <= {t.name for t in api.artifact_types(self.path)}
        names = [c.name for c in api.artifact_type("model", self.path).collections()]
        assert {"checkpoint", "staged", "borrower"} <= set(names)
        assert self.versions("checkpoint") == ["v1", "v0"]
        assert api.artifact_collection("model", f"{self.path}/checkpoint").type == "model"

    def existence_is_asked(self):
        assert self.exists("checkpoint:best")
        assert not self.exists("checkpoint:worst") and not self.exists("nothing:latest")
        assert self.api.artifact_collection_exists(f"{self.path}/checkpoint", "model")

    def a_folder_is_downloaded_and_verified(self):
        artifact = self.artifact("pages:latest")
        folder = Path(artifact.download(str(self.folder / "pages again")))
        assert (folder / "part 1/é4.txt").read_text() == "page 4"
        artifact.verify(str(folder))
        (folder / "part 1/é4.txt").write_text("changed")
        refused(lambda: artifact.verify(str(folder)), ValueError)

    def one_file_is_downloaded(self):
        entry = self.artifact("sizes:latest").get_entry("large")
        assert Path(entry.download(str(self.folder / "one"))).read_bytes() == self.large
        assert len(list(self.artifact("sizes:latest").files())) == 2

    def a_table_is_read(self):
        [table] = [a for a in self.online().logged_artifacts() if a.type == "run_table"]
        assert table.get("predictions").data == [["a.png", "words"], ["b.png", "more"]]

    def aliases_are_added_and_removed(self):
        artifact = self.artifact("checkpoint:v0")
        artifact.aliases.append("old")
        artifact.save()
        assert self.artifact("checkpoint:old").version == "v0"
        artifact.aliases.remove("old")
        artifact.save()
        assert not self.exists("checkpoint:old")

    def an_alias_moves_from_one_version_to_another(self):
        artifact = self.artifact("checkpoint:v0")
        artifact.aliases.append("best")
        artifact.save()
        assert "best" not in self.artifact("checkpoint:v1").aliases
        assert self.artifact("checkpoint:best").version == "v0"

    def metadata_description_and_tags_change(self):
        artifact = self.artifact("checkpoint:v0")
        artifact.metadata["cer"] = 0.25
        artifact.description = "the first"
        artifact.tags = ["tested"]
        artifact.save()
        again = self.artifact("checkpoint:v0")
        assert (again.metadata["cer"], again.description) == (0.25, "the first")
        assert again.tags == ["tested"]

    def a_new_draft_starts_from_a_version(self):
        with self.init(job_type="edit") as run:
            draft = self.artifact("pages:v0").new_draft()
            draft.add_file(self.file("extra.txt", b"extra"))
            draft.remove("part 0")
            run.log_artifact(draft).wait()
        paths = self.artifact("pages:latest").manifest.entries
        assert "extra.txt" in paths and "part 1/é1.txt" in paths and "part 0/é0.txt" not in paths
        assert self.artifact("pages:latest").version == "v1"

    def a_version_is_linked_and_unlinked(self):
        staged = self.artifact("staged:v0")
        staged.link(f"{self.path}/shelf", aliases=["shown"])
        linked = self.artifact("shelf:shown")
        assert linked.digest == staged.digest and linked.source_name == "staged:v0"
        folder = Path(linked.download(str(self.folder / "linked")))
        assert (folder / "model.ckpt").read_bytes() == b"compiled" * 1000
        linked.unlink()
        assert not self.exists("shelf:shown")
        assert self.artifact("staged:v0").digest == staged.digest

    def a_version_is_linked_to_the_registry(self):
        """Not at wandb.ai: there an administrator of the organization makes registries."""
        if self.connection.folder:
            staged = self.artifact("staged:v0")
            staged.link("wandb-registry-model/readers", aliases=["shown"])
            linked = self.api.artifact("wandb-registry-model/readers:shown")
            assert (linked.digest, linked.source_name) == (staged.digest, "staged:v0")
            linked.unlink()

    # Lightning

    def lightning_logs_every_checkpoint(self):
        import pytorch_lightning as pl
        from pytorch_lightning.callbacks import ModelCheckpoint
        from pytorch_lightning.demos.boring_classes import BoringModel
        from pytorch_lightning.loggers import WandbLogger

        class Model(BoringModel):
            def __init__(self, width: int = 1) -> None:
                super().__init__()
                self.save_hyperparameters()

            def training_step(self, batch, index: int):
                found = super().training_step(batch, index)
                self.log("loss", found["loss"])
                return found

        logger = WandbLogger(
            entity=self.entity, project=self.project, log_model="all", save_dir=str(self.folder)
        )
        checkpoints = ModelCheckpoint(monitor="loss", save_top_k=-1)
        quiet = {"enable_progress_bar": False, "enable_model_summary": False}
        limits = {"max_epochs": 3, "limit_train_batches": 2, "limit_val_batches": 0}
        trainer = pl.Trainer(
            logger=logger, callbacks=[checkpoints], accelerator="cpu", **quiet, **limits
        )
        trainer.fit(Model())
        self.lightning = f"model-{logger.experiment.id}"
        logger.experiment.finish()
        self.lightning_score = float(checkpoints.best_model_score)

    def lightnings_checkpoints_are_versions_with_scores(self):
        assert len(self.versions(self.lightning)) == 3
        best = self.artifact(f"{self.lightning}:best")
        assert math.isclose(best.metadata["score"], self.lightning_score, rel_tol=1e-5)
        assert best.logged_by().config["width"] == 1

    def lightning_downloads_a_checkpoint(self):
        import torch
        from pytorch_lightning.loggers import WandbLogger

        folder = WandbLogger.download_artifact(
            f"{self.path}/{self.lightning}:best",
            save_dir=str(self.folder / "lightning"),
            artifact_type="model",
        )
        checkpoint = torch.load(Path(folder, "model.ckpt"), weights_only=True)
        assert checkpoint["state_dict"]["layer.weight"].shape == (2, 32)

    # What is not there, and what goes away

    def what_is_missing_is_named_at_once(self):
        assert "nobody" in refused(lambda: self.artifact("checkpoint:nobody"))
        assert "nothing" in refused(lambda: self.artifact("nothing:latest"))
        refused(lambda: self.online("nosuchrun"))
        refused(lambda: list(self.api.runs(f"{self.entity}/no-such-project")))
        refused(lambda: self.online().file("no such file").download(str(self.folder)))

    def a_wrong_key_is_refused_at_once(self):
        code = "import wandb; wandb.init(project='p', settings=wandb.Settings(init_timeout=90))"
        environment = os.environ | {"WANDB_API_KEY": "0" * 40}
        command = [sys.executable, "-c", code]
        assert subprocess.run(command, env=environment, capture_output=True, timeout=80).returncode

    def an_artifact_with_an_alias_is_not_deleted(self):
        refused(lambda: self.artifact("checkpoint:best").delete())
        assert self.artifact("checkpoint:best").version == "v0"

    def an_artifact_is_deleted_with_its_aliases(self):
        self.artifact("checkpoint:best").delete(delete_aliases=True)
        eventually(lambda: self.versions("checkpoint") == ["v1"])
        assert not self.exists("checkpoint:best")

    def a_deleted_number_is_not_given_again(self):
        self.artifact("checkpoint:v1").delete(delete_aliases=True)
        with self.init(job_type="train") as run:
            assert self.log(run, "checkpoint", b"third" * 1000).version == "v2"

    def a_collection_is_deleted(self):
        self.api.artifact_collection("dataset", f"{self.path}/scratch").delete()
        eventually(lambda: not self.exists("scratch:latest"))

    def a_run_is_deleted(self):
        self.online().delete()
        eventually(lambda: self.run_id not in [run.id for run in self.api.runs(self.path)])
        assert self.artifact("pages:v0").digest  # what it logged stays
        refused(self.online)

    def all_is_deleted(self):
        for run in self.api.runs(self.path):
            run.delete(delete_artifacts=True)
        for type in self.api.artifact_types(self.path):
            for collection in type.collections():
                collection.delete()
        eventually(lambda: len(self.api.runs(self.path)) == 0)

    def the_home_folder_is_untouched(self):
        """wandb.ai's own settings may lie there; the lab's tracker leaves nothing."""
        if self.connection.folder:
            home = [path for path in Path.home().rglob("*") if path.is_file()]
            assert [path for path in home if "wandb" in str(path) or "netrc" in path.name] == []


METHODS = [name for name in vars(Steps) if not name.startswith("_")]
STEPS = {f"{number:02d}_{name}": name for number, name in enumerate(METHODS, 1)}
"""The methods of the steps, by number and name."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        steps = Steps(Path(folder))
        for step, method in STEPS.items():
            error = None
            try:
                getattr(steps, method)()
            except Exception as failure:
                error = "".join(traceback.format_exception(failure))
            print(json.dumps({"step": step, "error": error}), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
