# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Staging a model with Weights & Biases
#
# **Time:** 105 minutes
#
# **You will learn**
#
# - what a tracker keeps of a training run, and how to query it later;
# - what versions, digests and aliases of an artifact are, and which of them may move;
# - how staging turns a checkpoint into the one file that services load, and records it;
# - how to follow lineage: back to the run behind a model, and forward from a bad data set;
# - which rule lets a model into production, and which versions must not be deleted.

# %% tags=["setup"]
# The set-up cell: `lab notebooks build` fills it in.

# %% [markdown]
# ## A file and four questions
#
# A service reads handwriting with a file named `paragraph_reader.pt`. Today it reads badly, and
# somebody asks:
#
# 1. Which training run made this file, and with which settings?
# 2. How well did it read when it was made, and who decided to release it?
# 3. Are these the same bytes that were tested then?
# 4. A page that it was trained on must not be used any more. Which other models saw it?
#
# File names such as `final_v2_new.pt` answer none of these. A **tracker** answers all four, if each
# step on the way reported what it used and what it made. Weights & Biases (W&B) is such a tracker:
# a Python package, `wandb`, and a server that it reports to. In this notebook you take a model from
# training to a service, and then ask the four questions.

# %% [markdown]
# ## 1. A server to report to
#
# The usual server is wandb.ai, which requires an account. Without one, `tracking.connect()` starts
# the lab's small server, which speaks the same protocol. It runs inside this notebook's process and
# keeps everything in a folder on this machine. Here that is a new folder each time, so your version
# numbers start at 0; the last few folders are kept.

# %%
import os
from pathlib import Path

import wandb

import lab_tracker as tracking
from lab_utils import staging
from lab_utils.figures import show, show_table
from lab_utils.lessons.staging_with_wandb import checks
from lab_utils.lessons.staging_with_wandb import figures as draw
from text_recognizer.places import lab_folder

PROJECT = staging.names.PROJECT

# %%
import shutil
import tempfile

place = lab_folder() / "notebooks" / "02"
place.mkdir(parents=True, exist_ok=True)
for old in sorted(place.iterdir(), key=lambda folder: folder.stat().st_mtime)[:-3]:
    shutil.rmtree(old, ignore_errors=True)
FOLDER = Path(tempfile.mkdtemp(dir=place))
tracker = tracking.connect(FOLDER / "wandb")
# Otherwise wandb asks Jupyter which notebook this is, and complains if it gets no answer.
os.environ["WANDB_NOTEBOOK_NAME"] = "notebooks/source/02_staging_with_wandb.py"
print("project:", PROJECT)

# %% [markdown]
# The server has a web page, just as wandb.ai has. Open it beside this notebook, and reload it
# whenever you finish a section. (On Colab the address is that of Colab's machine, which your
# browser cannot reach.)

# %% tags=["timing"]
print(tracker.project_url(PROJECT))

# %% [markdown]
# **With an account.** If the environment variable `WANDB_API_KEY` is set, `connect()` changes
# nothing, and every cell below reports to wandb.ai. The key is at <https://wandb.ai/authorize>. Set
# the variable before you start Jupyter. On Colab, add the key under *Secrets* (the key icon on the
# left) and run this before the cell that connects:
#
# ```python
# import os
# from google.colab import userdata
#
# os.environ["WANDB_API_KEY"] = userdata.get("WANDB_API_KEY")
# ```
#
# Never write a key into a notebook: notebooks are shared. At wandb.ai your project may already
# contain something, so your versions may have higher numbers than those in the stored outputs.

# %% [markdown]
# ## 2. A run
#
# A **run** is one execution of a program: what it was given (`config`), what it measured on the way
# (history), and how it ended (summary). `job_type` says which kind of step it was. Here is the
# smallest one, a loop that halves a number:

# %%
settings = {"start": 8.0, "steps": 4}
with wandb.init(project=PROJECT, job_type="demo", name="halving", config=settings) as run:
    value = run.config["start"]
    for _ in range(run.config["steps"]):
        run.log({"value": value})
        value /= 2

# %% [markdown]
# `run.log` sends values to the tracker, and `wandb.Api()` asks for them: from anywhere, even a year
# later and on another machine.

# %%
api = wandb.Api()
found = api.run(run.path)  # entity/project/id
print("state:  ", found.state)
print("config: ", {name: found.config[name] for name in sorted(found.config)})
print("history:", [row["value"] for row in found.scan_history(keys=["value"])])
print("summary:", found.summary["value"])

# %% [markdown]
# Unless you set it, the summary holds the last value of each metric. That is not always the one you
# want: for a training run, you want the score of the weights that you kept.
#
# Now for two real training runs. `staging.train` fine-tunes the lab's line reader on the short
# lines (up to 320 px) of a few sample pages, with PyTorch Lightning and its `WandbLogger`. Five
# steps are far too few for a better model, but everything else is as in a long run. The two differ
# in the learning rate and in how many pages they see. (This takes a few seconds.)

# %%
short = {"steps": 5, "validation_pages": 6, "max_width": 320}
rash = staging.train(pages=4, learning_rate=3e-4, **short)
careful = staging.train(pages=3, learning_rate=1e-5, **short)
runs = {
    name: api.run(f"{PROJECT}/{trained.logged_by().id}")
    for name, trained in {"rash": rash, "careful": careful}.items()
}
print("logged:", rash.name, "and", careful.name)

# %%
losses = {
    name: [row["train_loss"] for row in run.scan_history(keys=["train_loss"])]
    for name, run in runs.items()
}

# %%
assert losses["rash"][1] > losses["rash"][0] and losses["careful"][1] < losses["careful"][0]
assert abs(losses["rash"][-1] - losses["careful"][-1]) < 0.05
show(
    draw.loss_curves(losses),
    "Figure 1. The training loss of both runs, from the history at the tracker.",
    "Two curves over five steps. The careful one falls; the rash one rises first; both end level.",
    width=560,
)

# %% [markdown]
# Which of the two would you release? Judging by the last loss, either: both end equally low. But
# that is the loss on a handful of lines, the same ones that the network is trained on. Each run
# also read lines of other pages, before its first step and after the last, and logged the character
# error rate (CER), the share of characters that are read wrong:

# %% tags=["nbval-ignore-output"]
rows = []
for name, run in runs.items():
    rates = [row["cer"] for row in run.scan_history(keys=["cer"])]
    settings = [f"{run.config['learning_rate']:g}", run.config["data"]["pages"]["train"]]
    rows.append([name, *settings, f"{rates[0]:.3f}", f"{rates[-1]:.3f}"])
    assert (rates[-1] > rates[0] + 0.01) == (name == "rash")
columns = ["run", "learning rate", "pages", "CER before", "CER after"]
show_table(rows, columns, "Table 1. How both training runs read the same validation lines.")

# %% [markdown]
# The careful run hardly changed the network, which still reads these lines as before. In the rash
# run, the network took large steps towards its few lines, and forgot part of what it could read.
# Its loss does not show that. So a checkpoint's **score** must come from data that it was not
# trained on.

# %% [markdown]
# ## 3. An artifact
#
# A run that made a file logs it as an **artifact**: a name, a type, and files. The server gives it
# a version. Log three texts under one name:

# %%
note = FOLDER / "note.txt"
versions = []
with wandb.init(project=PROJECT, job_type="demo", name="notes") as run:
    for text in ("first", "first", "second"):
        note.write_text(text)
        artifact = wandb.Artifact("note", type="demo", metadata={"letters": len(text)})
        artifact.add_file(str(note))
        versions.append(run.log_artifact(artifact).wait())

# %%
for artifact in versions:
    print(artifact.source_name, artifact.digest[:8], artifact.metadata)

# %% [markdown]
# You logged three texts, but there are only two versions. An artifact has a **digest**, a checksum
# of its files. The same bytes have the same digest, and the server makes no new version for them.
# The files of a version never change: different bytes make a new version.
#
# What moves is an **alias**, a name for a version. `latest` moves to each new version
# automatically; people and programs move the others:

# %%
for alias in ("v0", "v1", "latest"):
    found = api.artifact(f"{PROJECT}/note:{alias}")
    print(f"note:{alias} is {found.source_name}, with the aliases {found.aliases}")

# %% [markdown]
# If you want *the same file again*, ask for a version; if you want *the current one*, ask for an
# alias.
#
# The training runs of section 2 logged their checkpoints in this way, with the type `model`. The
# metadata says what is in a file, so that nobody has to download 36 MB to find out:

# %%
checkpoint = api.artifact(f"{PROJECT}/{careful.name}")
print("files:  ", *checkpoint.manifest.entries, f"{checkpoint.size / 1e6:.1f} MB")
print("aliases:", *checkpoint.aliases)
print("knows:  ", *sorted(checkpoint.metadata))

# %% [markdown]
# The `score` decides which checkpoint is `best`: after each training run that alias goes to the
# checkpoint with the lowest CER. `data` holds digests of the pages that the run trained on, and of
# the validation lines. And `sha256` is the digest of the file itself, stronger than the tracker's
# (MD5); section 7 uses it.

# %% [markdown]
# ### Exercise 1: Log, promote, find (15 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●●
#
# Now do all of this yourself with `wandb`. Log a file as a new version of the artifact `my-reader`,
# of the type `model`, with its score in the metadata, and give this version an alias. If an older
# version has the alias, the alias moves to the new one: that is what promoting a model means. Then
# find the version as a service would, by the alias, and return what the tracker answers.
#
# Before you run the check: `log_artifact` returns before the tracker has the version. What would a
# search find if you didn't wait for that?


# %% tags=["exercise"]
def promote(run: wandb.Run, path: Path, score: float, alias: str) -> wandb.Artifact:
    """Logs a file as a version of "my-reader" with an alias, and finds it by that alias.

    Args:
        run: an open run; the artifact is logged with it, in its project.
        path: the file, which keeps its name in the artifact.
        score: the score to keep in the metadata, as "score".
        alias: what the new version is called, in addition to "latest".

    Returns:
        The artifact that `wandb.Api` finds by the alias.
    """
    ### BEGIN SOLUTION
    artifact = wandb.Artifact("my-reader", type="model", metadata={"score": score})
    artifact.add_file(str(path))
    run.log_artifact(artifact, aliases=[alias]).wait()
    return wandb.Api().artifact(f"{run.entity}/{run.project}/my-reader:{alias}")
    ### END SOLUTION


# %% tags=["check"]
checks.promote(promote)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The cell that logged three texts does everything but the alias: `run.log_artifact` takes a list of
# `aliases`, and adds `latest` by itself. `.wait()` returns when the tracker has the version. A full
# name is `ENTITY/PROJECT/NAME:ALIAS`; the run knows its `entity` and its `project`.
#
# </details>

# %% [markdown]
# The lab promotes in the same way. Teams that share models between projects go one step further:
# the W&B **Registry** holds collections (artifact names with all their versions) for a whole
# organization, and `run.link_artifact(artifact, "wandb-registry-model/my-reader")` puts a version
# into one ([W&B's documentation](https://docs.wandb.ai/models/registry/link_version)). This works
# with the lab's tracker as well, where the Registry is the project `wandb-registry-model`. From any
# project, `wandb.Api().artifact("wandb-registry-model/my-reader:latest")` then finds the version.

# %% [markdown]
# ## 4. Staging
#
# Services do not load checkpoints; [notebook 01](01_checkpoint_to_torchscript.ipynb) shows why.
# **Staging** is the step in between. `staging.stage` starts its own run, with the `job_type`
# `stage`, that
#
# 1. *uses* the checkpoint (`run.use_artifact`, which the tracker records) and downloads it;
# 2. builds the module from the settings in the file and compiles it to TorchScript;
# 3. proves on sample pages that the compiled file gives the same tokens as the module;
# 4. *logs* the file as an artifact of the type `prod-ready`, and reads it back.
#
# `promote=True` also gives the new version the alias `production`, which is what services ask for.
# Suppose somebody was in a hurry and staged the first checkpoint without looking at table 1:

# %%
first = staging.stage(checkpoint=rash.name, promote=True)
show_table(
    [
        ["checkpoint", rash.name, rash.type, f"{rash.size / 1e6:.1f}"],
        ["TorchScript file", first.name, first.type, f"{first.size / 1e6:.1f}"],
    ],
    ["file", "artifact", "type", "MB"],
    "Table 2. What staging used, and what it logged.",
)

# %%
parity = first.metadata["parity"]
print("aliases:", *first.aliases)
print("pages whose tokens differ from the module's:", len(parity["pages_that_differ"]))
within = parity["largest_logit_difference"] <= parity["tolerance"]
print(f"all logits within {parity['tolerance']}:", within)

# %% [markdown]
# Parity holds, for a model that reads badly. That isn't a contradiction: parity compares the file
# with the *checkpoint*, and says that nothing was lost on the way. It says nothing about how good
# the checkpoint was. For that, somebody has to look at the score, and nobody did.

# %% [markdown]
# ## 5. Lineage: the run behind a model
#
# Question 1: which training run made the file that services load? Its name doesn't say, but each
# run reported what it used and what it logged. Together these reports form a graph that you can
# walk. Go one step back from the model in production:

# %%
production = api.artifact(f"{PROJECT}/paragraph-reader:production")
maker = production.logged_by()
print(maker.job_type, "used", [(one.name, one.type) for one in maker.used_artifacts()])

# %% [markdown]
# ### Exercise 2: The training behind a model (10 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●○
#
# Given any artifact, return the training run that its weights come from: the first run on the way
# back whose `job_type` is `"train"`. There may be no step in between, or several (somebody might
# make a model smaller before staging it). Runs may also have used data sets (type `"dataset"`);
# weights don't come from these. Apart from data sets, each run used at most one artifact.
#
# The trail may end early: for a file that somebody uploaded by hand, `logged_by()` is `None`. Then
# raise `LookupError` with a sentence that says so.


# %% tags=["exercise"]
def training_run(artifact: wandb.Artifact) -> "wandb.apis.public.Run":
    """The nearest run of the job_type "train" that an artifact descends from.

    Args:
        artifact: has `logged_by()`, a run or None. A run has `job_type` and `used_artifacts()`,
            a list of artifacts, and each of these has a `type`.

    Raises:
        LookupError: no training run is on record.
    """
    ### BEGIN SOLUTION
    run = artifact.logged_by()
    while run is not None and run.job_type != "train":
        parents = [one for one in run.used_artifacts() if one.type != "dataset"]
        run = parents[0].logged_by() if parents else None
    if run is None:
        raise LookupError(f"No training is on record behind {artifact.name}.")
    return run
    ### END SOLUTION


# %% tags=["check"]
checks.training_run(training_run)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Keep one variable, the run that you are looking at. While it is a run but not a training run,
# replace it with the run that logged the artifact it used, or with `None` if there is no such
# artifact. After the loop it is a training run, or `None`.
#
# </details>

# %%
culprit = training_run(production)
print(culprit.job_type, "with the learning rate", culprit.config["learning_rate"])
print("this is the rash run:", culprit.id == rash.logged_by().id)

# %% [markdown]
# That is question 1, answered from the file that services load. `staging.lineage` takes the same
# walk and goes one step further, to the data:

# %%
behind = staging.lineage("production")
show(
    draw.lineage_graph([behind]),
    "Figure 2. Where the model in production comes from: artifacts are round, runs are gray.",
    "Five boxes joined by arrows: a data set of 4 pages, a training run with the learning rate "
    "0.0003, a checkpoint, a staging run, and the staged model with the alias production.",
    width=860,
)

# %% [markdown]
# On the tracker's page you find the same graph below each artifact.

# %% [markdown]
# ## 6. A rule for production
#
# Question 2: how well did it read, and who decided to release it? The numbers were there, in the
# metadata that staging copied from the checkpoint:

# %% tags=["nbval-ignore-output"]
metrics = production.metadata["metrics"]
print(f"CER {metrics['score']:.3f} on the validation lines, {metrics['score_before']:.3f} before")

# %% [markdown]
# Nobody compared them. A program can do that, and a rule in a program can be tested. But it must
# say more than "lower is better":
#
# | the candidate | production | may the candidate replace it? |
# |---|---|---|
# | has a lower score | has a score | yes |
# | has an equal or higher score | has a score | no: a change is a risk, so it must pay off |
# | has no score, or NaN | anything | no, not even if nothing is in production |
# | has a score | is empty, or has no score, or NaN | yes |
# | was measured on other validation lines | has a score | no: the two can't be compared |

# %% [markdown]
# ### Exercise 3: May it be released? (10 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●○
#
# Write the table as a function of two checkpoints' metadata. A score is a CER, a number; it may be
# missing from the metadata, `None`, or NaN (from a training run that diverged). Note that 0 is a
# score, too: the best there is. `metadata["data"]["validation_sha256"]` is the digest of the
# validation lines.

# %% tags=["exercise"]
import math
from typing import Any


def may_replace(candidate: dict[str, Any], production: dict[str, Any] | None) -> bool:
    """Whether a checkpoint may replace the one that is in production.

    Args:
        candidate: metadata with "data" and perhaps a "score", a CER: lower is better.
        production: the same for what services load now; None if there is nothing yet.
    """
    ### BEGIN SOLUTION
    new, old = candidate.get("score"), (production or {}).get("score")
    if new is None or math.isnan(new):
        return False
    if production is None or old is None or math.isnan(old):
        return True
    same_lines = candidate["data"]["validation_sha256"] == production["data"]["validation_sha256"]
    return same_lines and new < old
    ### END SOLUTION


# %% tags=["check"]
checks.may_replace(may_replace)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Go through the table from the strongest reason to the weakest: first the candidate without a
# score, then production without one, then the validation lines, then the comparison. `dict.get`
# gives `None` for what is missing; every comparison with NaN is false, `nan == nan` too, so use
# `math.isnan`.
#
# </details>

# %% [markdown]
# Ask the rule about both checkpoints:

# %%
scores = {}
for name, trained in {"rash": rash, "careful": careful}.items():
    scores[name] = api.artifact(f"{PROJECT}/{trained.name}").metadata
for candidate, serving in (("rash", None), ("careful", "rash"), ("rash", "careful")):
    allowed = may_replace(scores[candidate], scores.get(serving))
    print(f"{candidate} in place of {serving or 'nothing'}:", "yes" if allowed else "no")

# %% [markdown]
# Look at the first line. A *relative* rule lets anything in as long as there is nothing to compare
# it with. If even the first model must be good, the rule needs an absolute limit as well.
#
# Now replace the rash model as a deployment script would, after asking the rule:

# %%
if may_replace(scores["careful"], staging.lineage("production").checkpoint.metadata):
    second = staging.stage(checkpoint=careful.name, promote=True)
for version in reversed(list(api.artifacts("prod-ready", f"{PROJECT}/paragraph-reader"))):
    print(version.name, version.aliases)

# %% [markdown]
# Promotion moved one alias. No file was copied or overwritten, and the way back is just as short:
# give the alias back to the old version (`artifact.aliases.append("production")`,
# `artifact.save()`), and the next fetch gets what was there before.

# %% [markdown]
# ## 7. Fetch: are these the bytes?
#
# A service asks for `production` and gets a file. `staging.fetch` takes the SHA-256 that staging
# recorded in the metadata, downloads the file, compares the digests, and puts the file in place:

# %%
model = staging.fetch("production", FOLDER / "service" / "paragraph_reader.pt")
print(model.name, f"{model.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# The service itself needs no `wandb`, no Lightning and no NumPy: fewer packages are fewer
# megabytes, seconds and surprises. In the next process, only torch, Pillow, the packages that these
# two require, and the lab's own code can be imported. It can still read:

# %%
import subprocess
import sys

program = """import sys
from lab_utils.staging.torch_only import TorchAndPillowOnly
sys.meta_path.insert(0, TorchAndPillowOnly())
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
print(ParagraphTextRecognizer(sys.argv[1]).predict(sys.argv[2]))
print("wandb:", "wandb" in sys.modules, "numpy:", "numpy" in sys.modules)"""
command = [sys.executable, "-W", "ignore", "-c", program, model, "data/pages/show_font_003.jpg"]
print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

# %% [markdown]
# Now the download. A connection breaks, a disk fills up, a proxy sends an error page in place of
# the file. Meanwhile the service may be starting up, and may load whatever is there. So three
# things must hold: the bytes are checked, the file is replaced **in one step** or not at all, and a
# large file does not have to fit into memory.

# %% [markdown]
# ### Exercise 4: Whole and right, or not at all (15 minutes)
#
# Difficulty ●●●●○ · Importance ●●●●○
#
# Given the pieces of a file as they arrive and its SHA-256, put it at `target` and return how many
# bytes it has. If the digest is wrong, raise `ValueError`. If anything goes wrong, even Ctrl-C
# while the pieces arrive, whatever was at `target` before must still be there, and nothing else may
# be left in its folder. A file that was at `target` must never be missing, not even for a moment.
# Another download of the same file may run at the same time.


# %% tags=["exercise"]
import hashlib
from collections.abc import Iterable


def put_in_place(pieces: Iterable[bytes], sha256: str, target: Path) -> int:
    """Writes the pieces to `target` if the digest is right; returns the number of bytes.

    Args:
        pieces: the parts of the file, in order; together they may be too large for memory.
        sha256: the digest of the whole file, 64 hexadecimal digits.
        target: where the file belongs; its folder exists.

    Raises:
        ValueError: the digest is wrong.
    """
    ### BEGIN SOLUTION
    hashed, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        partial = Path(file.name)
    try:
        with partial.open("wb") as file:
            for piece in pieces:
                hashed.update(piece)
                size += file.write(piece)
        if hashed.hexdigest() != sha256:
            raise ValueError(f"{target.name} has the SHA-256 {hashed.hexdigest()}, not {sha256}.")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return size
    ### END SOLUTION


# %% tags=["check"]
checks.put_in_place(put_in_place)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Write to a file with another name *in the same folder*: there, `Path.replace` is a single step.
# Let `tempfile.NamedTemporaryFile(dir=..., delete=False)` choose a name that nobody else uses. A
# hash object takes the bytes piece by piece (`update`) and gives the digest at the end
# (`hexdigest`). `try: ... finally: partial.unlink(missing_ok=True)` cleans up in every case, Ctrl-C
# included; after a replacement there is nothing left to remove.
#
# </details>

# %% [markdown]
# Try it on the real file, read from the tracker in pieces of 1 MiB: first as it is, then with one
# bit of the sixth piece flipped on the way.

# %%
from urllib.request import urlopen


def pieces_of(url, damaged=None):
    with urlopen(url) as answer:
        for number, piece in enumerate(iter(lambda: answer.read(2**20), b"")):
            yield piece if number != damaged else bytes([piece[0] ^ 1]) + piece[1:]


# %%
production = api.artifact(f"{PROJECT}/paragraph-reader:production")
[file], digest = production.files(), production.metadata["sha256"]
size = put_in_place(pieces_of(file.direct_url), digest, model)
print("put in place:", size == production.size)
try:
    put_in_place(pieces_of(file.direct_url, damaged=5), digest, model)
except ValueError:
    print("refused; left in the folder:", *[path.name for path in model.parent.iterdir()])
print("still right:", hashlib.sha256(model.read_bytes()).hexdigest() == digest)

# %% [markdown]
# One wrong bit in 13 MB is noticed. `staging.fetch` is built this way; its replacement
# ([`replacing`](../text_recognizer/files.py)) also makes sure that the bytes are on the disk before
# they get their name. `fetch` also refuses an artifact whose list of files has a path such as
# `../../.ssh/authorized_keys`.
#
# A digest answers question 3 only as far as you trust where it comes from. Here it comes from the
# tracker, so anyone who can write there can change both. Signatures would close that gap.

# %% [markdown]
# ## 8. A bad page: what did it reach?
#
# Question 4. The person who wrote one of the pages withdraws consent. The page's name is all you
# have. Training runs logged the lists of their pages as artifacts of the type `dataset`, so first
# find out which versions contain it:

# %%
import json

PAGE = "train_font_003.jpg"
concerned = []
for data in reversed(list(api.artifacts("dataset", f"{PROJECT}/sample-pages"))):
    folder = Path(data.download(root=str(FOLDER / "data" / data.version)))
    pages = [one["file"] for one in json.loads((folder / "labels.json").read_text())["train"]]
    print(data.name, len(pages), "pages to train on;", PAGE, "among them:", PAGE in pages)
    concerned += [data] if PAGE in pages else []

# %% [markdown]
# ### Exercise 5: What a data set reached (10 minutes)
#
# Difficulty ●●●○○ · Importance ●●●○○
#
# Walk forward: an artifact has `used_by()`, the list of runs that used it, and a run has
# `logged_artifacts()`. Return the sorted names of all staged models (type `"prod-ready"`) that
# descend from a data set, each name once. They may be many steps away: checkpoints may be trained
# further or averaged, and staged models made smaller.


# %% tags=["exercise"]
def staged_from(data: wandb.Artifact) -> list[str]:
    """The sorted names of all artifacts of the type "prod-ready" downstream of `data`."""
    ### BEGIN SOLUTION
    seen: dict[str, str] = {}
    waiting = [data]
    while waiting:
        for run in waiting.pop().used_by():
            for made in run.logged_artifacts():
                if made.name not in seen:
                    seen[made.name] = made.type
                    waiting.append(made)
    return sorted(name for name, type in seen.items() if type == "prod-ready")
    ### END SOLUTION


# %% tags=["check"]
checks.staged_from(staged_from)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Keep a list of artifacts that are still to be followed, and the names of those that you have seen.
# Take one from the list, look at everything logged by the runs that used it, and put what is new on
# the list. The API answers with new objects each time, so compare names, not objects.
#
# </details>

# %%
reached = sorted({name for data in concerned for name in staged_from(data)})
print("reached:", *reached)
print("production among them:", production.source_name in reached)

# %%
families = [staging.lineage(version.split(":")[1]) for version in (first.name, second.name)]
show(
    draw.lineage_graph(families, reached),
    "Figure 3. Hatched: the data set with that page, and what was made from it.",
    "Two rows from data to staged model. In the first, of the rash run, data, checkpoint and "
    "staged model are hatched; the second, which has the alias production, is clean.",
    width=860,
)

# %% [markdown]
# A narrow escape: the careful run had not seen that page, and services load its model. Had it been
# the other way round, you would know within a minute which alias to move and which training run to
# repeat. Without the records you would have to delete everything.

# %% [markdown]
# ## 9. Clean up
#
# Each version takes up space, and what the page reached has to go anyway. But deleting is the one
# step that you can't undo by moving an alias. What must stay?
#
# - What has an **alias**, any alias: somebody or something asks for it by that name.
# - What such a version **descends from**, or question 1 could no longer be answered.

# %% [markdown]
# ### Exercise 6: Which versions can be deleted (10 minutes)
#
# Difficulty ●●●●○ · Importance ●●●○○
#
# Given all versions of all artifacts, return the names of those that nobody needs, in the order
# given.


# %% tags=["exercise"]
def deletable(versions: list[wandb.Artifact]) -> list[str]:
    """The names of versions that have no alias, and that no version with an alias descends from.

    Args:
        versions: each has a `name` ("line-reader:v3"), `aliases` (a list, empty for most) and
            `logged_by()`, a run or None; a run has `used_artifacts()`.
    """
    ### BEGIN SOLUTION
    waiting = [one for one in versions if one.aliases]
    needed = {one.name for one in waiting}
    while waiting:
        run = waiting.pop().logged_by()
        for parent in run.used_artifacts() if run else ():
            if parent.name not in needed:
                needed.add(parent.name)
                waiting.append(parent)
    return [one.name for one in versions if one.name not in needed]
    ### END SOLUTION


# %% tags=["check"]
checks.deletable(deletable)

# %% [markdown]
# <details><summary>Hint</summary>
#
# This is exercise 5 in the other direction, with many starting points: begin with all versions that
# have an alias, and walk back over `logged_by()` and `used_artifacts()`. What you did not reach is
# not needed. Note that `logged_by()` may be `None`, and that a version may be reached twice.
#
# </details>

# %%
kinds = {"paragraph-reader": "prod-ready", "line-reader": "model", "sample-pages": "dataset"}
versions = [one for name, type in kinds.items() for one in api.artifacts(type, f"{PROJECT}/{name}")]
print("can go:", *deletable(versions))
plan = staging.cleanup()
print("staging.cleanup says the same:", [one.name for one in plan.to_delete] == deletable(versions))

# %% [markdown]
# `staging.cleanup()` only reports what it would do, and why the rest stays:

# %%
show_table(
    [[one.name, f"{one.bytes / 1e6:.1f}", one.kept_because or "-"] for one in plan.versions],
    ["version", "MB", "stays because of"],
    "Table 3. The plan, before anything is deleted.",
)

# %% [markdown]
# Exactly what is hatched in figure 3 can be deleted. Pass those names with `yes=True` to delete
# them. (Only named versions are touched: at wandb.ai your project may hold other work.)

# %%
gone = families[0]
names = [gone.staged.name, gone.checkpoint.name, gone.data.name]
done = staging.cleanup(names, yes=True)
print(f"deleted {len(done.to_delete)} versions, {done.bytes / 1e6:.0f} MB")

# %%
after = staging.lineage("production")
print("the lineage of production is complete:", after.is_complete)
print("runs are still there:", sorted(run.job_type for run in api.runs(PROJECT)))

# %% [markdown]
# Runs stay: they are small, and they record what was tried. Look at the rash run on the tracker's
# page: its settings and curves are there, its checkpoint is not.

# %% [markdown]
# ## 10. The same from a terminal
#
# Everything that `staging` did is also available as a command, for scripts and for people:
# `lab train`, `lab stage --promote`, `lab fetch production`, `lab lineage production`,
# `lab cleanup --yes`. If `WANDB_API_KEY` is set, these commands also use wandb.ai. Otherwise they
# use the tracker in `.lab/wandb`, or this notebook's tracker if you start them from here.

# %% tags=["timing"]
# !lab lineage production

# %%
# !lab cleanup

# %% [markdown]
# If you make a mistake, a command prints one line that says what to do, and exits with code 2.
# Nothing is changed:

# %%
# !lab fetch yesterday

# %% [markdown]
# Your tracker stops when this notebook's kernel stops; its data stays for a while. To look at it
# later, run this in a terminal:

# %% tags=["timing"]
print("lab wandb-server --folder", os.path.relpath(FOLDER / "wandb"))

# %% [markdown]
# ## Summary
#
# - A run records settings, metrics and how it ended; the score that counts comes from data that the
#   model was not trained on.
# - Versions never change, the same bytes are one version, and only aliases move.
# - Staging is a separate run: it uses a checkpoint, proves parity, and logs what services load.
#   Parity says that nothing was lost on the way, not that the model is good.
# - Lineage is what runs used and logged. Walking back explains a model; walking forward shows what
#   a bad data set reached.
# - A rule for production says what equal, missing and differently measured scores mean.
# - A file is put in place whole and right, or not at all. What has an alias stays, with everything
#   that it descends from.

# %% [markdown]
# ## What to try next
#
# - Train and stage a third model with `promote=True`, fetch it, then give `production` back to the
#   previous model and fetch again. How do you prove that the service has the old bytes now?
# - Stage the same checkpoint twice in one process. Is there a new version? Section 3
#   says what decides that.
# - Give the rule an absolute limit, and let it also refuse a model that reads the *sample pages*
#   worse: `metadata["metrics"]["sample_pages_cer"]` of a staged model.
# - **Next:** [From an image to its text](03_paragraph_text_recognizer.ipynb): what the staged file
#   does with a page.
