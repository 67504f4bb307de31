# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a checkpoint to TorchScript
#
# **Time:** 100 minutes
#
# **You will learn**
#
# - what a training checkpoint holds, and how little of it inference needs;
# - why loading a checkpoint can run code, and which file format can't;
# - why a traced recognizer silently returns wrong text, and a scripted one does not;
# - how to show that a compiled model gives the same results as the original;
# - how to load it with only PyTorch, and what comes after TorchScript.

# %% tags=["setup"]
# The set-up cell: `lab notebooks build` fills it in.

# %% [markdown]
# ## What you will end up with
#
# Training leaves behind a *checkpoint*, a file to resume training from. A service needs something
# else: one file that it loads once and sends pages to. This lab's recognizer is such a file. The
# next two cells make it from the [packaged weights](../data/weights/README.md), load it, and read a
# page with it.

# %%
from pathlib import Path

from PIL import Image

from lab_utils.figures import show, show_table
from lab_utils.lessons.checkpoint_to_torchscript import checks
from lab_utils.lessons.checkpoint_to_torchscript import figures as draw
from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import lab_folder

FOLDER = lab_folder() / "notebooks" / "01"
model_path = compile_paragraph_reader(FOLDER / "packaged.pt")

# %%
PAGE = Path("data/pages/show_font_003.jpg")
recognizer = ParagraphTextRecognizer(model_path, language_model="none")
text = recognizer.predict(PAGE)
show(
    draw.page_with_texts(Image.open(PAGE), {"What the recognizer reads": text}, height=240),
    "Figure 1. A page, and what the recognizer reads on it.",
    f"A page with five handwritten lines. Beside it the text: {text}",
)

# %% [markdown]
# `language_model="none"` uses the network by itself. (The lab's commands and services also use an
# English language model; [notebook 03](03_paragraph_text_recognizer.ipynb) explains it.)
#
# In this notebook you make such a file yourself, from a checkpoint of your own training run, and
# find out what each step is for.

# %% [markdown]
# ## 1. What is in a checkpoint
#
# First you need one. `train_briefly` trains the line reader, the network that reads one line of
# handwriting, for three steps on a few lines of the sample pages. That is far too short to learn
# anything, but it is PyTorch Lightning's real training loop, and the checkpoint has the same
# contents as one from a long run.

# %%
import torch

from text_recognizer.train.fine_tune import train_briefly

checkpoint_path = train_briefly(FOLDER / "brief.ckpt", steps=3)
checkpoint = torch.load(checkpoint_path, weights_only=True)
print(f"{checkpoint_path.name}: {checkpoint_path.stat().st_size / 1e6:.1f} MB")
print(*checkpoint, sep=", ")

# %% [markdown]
# A checkpoint is a dictionary of dictionaries and lists, with tensors somewhere inside. Which entry
# makes the file so large?

# %% [markdown]
# ### Exercise 1: Where the bytes are (10 minutes)
#
# Difficulty ●●●○○ · Importance ●●●○○
#
# Given any nesting of dictionaries, lists and tuples, return how many bytes its tensors take up in
# a file written by `torch.save`.
#
# There is a catch. A tensor is a *view* of a *storage*, the memory that holds the numbers.
# `torch.save` writes storages. It writes each one only once, however many tensors share it, and
# always in full, even if a tensor shows only a small part of it.

# %% tags=["exercise"]
from typing import Any

import torch


def stored_bytes(value: Any) -> int:
    """The bytes of all storages that the tensors in a nested value use.

    Args:
        value: a tensor, a dictionary, list or tuple of such values, or anything else, such as a
            number or a string, which counts as 0 bytes.

    Returns:
        The sum of the sizes of the storages, each counted once.
    """
    ### BEGIN SOLUTION
    storages: dict[int, int] = {}
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, torch.Tensor):
            storage = part.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part
    return sum(storages.values())
    ### END SOLUTION


# %% tags=["check"]
checks.stored_bytes(stored_bytes)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `tensor.untyped_storage()` is the storage. It has an address, `data_ptr()`, and a size,
# `nbytes()`. Two tensors share a storage if the addresses are equal, so collect the sizes in a
# dictionary keyed by address. Walk through the nesting with recursion, or keep a list of values
# still to visit.
#
# </details>

# %%
rows = [
    [name, draw.PURPOSES.get(name, "something else"), stored_bytes(value)]
    for name, value in checkpoint.items()
]
show_table(rows, ["entry", "what it is there for", "bytes of tensors"], "Table 1. The checkpoint.")

# %% [markdown]
# Two entries hold all the tensors, and the optimizer's entry is twice as large as the network's.
# Adam, the optimizer, keeps two running means for every weight: of its gradient, and of the
# gradient's square. Training needs them to resume as if it had never stopped. Reading a page needs
# neither.

# %%
moments = checkpoint["optimizer_states"][0]["state"].values()
parts = {
    "weights": stored_bytes(checkpoint["state_dict"]),
    "Adam's mean of gradients": stored_bytes([one["exp_avg"] for one in moments]),
    "Adam's mean of squares": stored_bytes([one["exp_avg_sq"] for one in moments]),
}
parts["all else"] = checkpoint_path.stat().st_size - sum(parts.values())

# %%
show(
    draw.megabytes({"checkpoint": parts}),
    "Figure 2. What the bytes of the checkpoint are for.",
    "A bar of 36 MB: a third weights, two thirds Adam's two means, hardly anything else.",
)

# %% [markdown]
# ## 2. A checkpoint is a pickle, and a pickle is a program
#
# `torch.save` writes Python objects with *pickle*. A pickle is a list of instructions for a small
# machine, and one of the instructions calls a function. The author of the file chooses which
# function.

# %%
import pickle
import pickletools


class Surprise:
    def __reduce__(self):
        return print, ("This line was printed by the file.",)


for instruction, argument, _ in pickletools.genops(pickle.dumps(Surprise(), protocol=4)):
    if instruction.name not in ("PROTO", "FRAME", "MEMOIZE"):
        print(instruction.name, argument if argument is not None else "")

# %% [markdown]
# Read it from the top: take the function `print` of the module `builtins`, make a tuple of one
# string, call (`REDUCE`). Nothing there says "object of the class `Surprise`". A file that calls
# `print` is a joke; one that calls `os.system` is not. Loading the file runs the call before you
# have seen any of the contents:

# %%
import io

stream = io.BytesIO()
torch.save({"state_dict": {}, "note": Surprise()}, stream)
stream.seek(0)
loaded = torch.load(stream, weights_only=False)
print("loaded:", loaded)

# %% [markdown]
# With `weights_only=True`, the default since PyTorch 2.6, PyTorch uses a different unpickler. It
# allows the few calls that tensors and plain containers need, and refuses all others.

# %%
stream.seek(0)
try:
    torch.load(stream, weights_only=True)
except pickle.UnpicklingError as error:
    reason = next(line for line in str(error).split("\n") if "Unsupported" in line)
    print(reason.strip().split(". ")[0])

# %% [markdown]
# The weights that come with this lab are *safetensors* files. Such a file holds only a length, a
# JSON header with the position of each tensor, and the tensors' bytes, so it has no room for a
# program.

# %%
import json

with open("data/weights/line_reader.safetensors", "rb") as file:
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
print(f"{len(header)} entries, such as")
print("head.weight:", header["head.weight"])

# %% [markdown]
# ### Exercise 2: Keep what inference needs (10 minutes)
#
# Difficulty ●○○○○ · Importance ●●●●○
#
# In `checkpoint["state_dict"]` each name begins with the attribute in which the training module
# keeps the network: `reader.head.weight` is the `head.weight` of `ReaderTraining.reader`. There may
# be other names too: a teacher, averaged weights, metrics.
#
# Given a checkpoint and a prefix such as `"reader."`, return the network's own state dict.

# %% tags=["exercise"]
from typing import Any

from torch import Tensor


def inference_weights(checkpoint: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    """The state dict of one network from a Lightning checkpoint.

    Args:
        checkpoint: as `torch.load` returns it; it is not changed.
        prefix: what the network's names begin with, including the dot: "reader.".

    Returns:
        The network's tensors, under the network's own names for them.
    """
    ### BEGIN SOLUTION
    return {
        name.removeprefix(prefix): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(prefix)
    }
    ### END SOLUTION


# %% tags=["check"]
checks.inference_weights(inference_weights)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A dictionary comprehension with a condition is enough. Note that the prefix may also occur in the
# middle of a name, and that `str.lstrip` removes a *set of characters*, not a prefix.
#
# </details>

# %% [markdown]
# Now the network no longer needs its training code. `load_state_dict` is strict: a missing or extra
# name is an error, so this one line shows that nothing is missing. `save_weights` stores the
# numbers in half precision.

# %%
from text_recognizer.models.line_reader import LineReader
from text_recognizer.weights import save_weights

weights = inference_weights(checkpoint, "reader.")
line_reader = LineReader().eval()
print(line_reader.load_state_dict(weights))
small = save_weights(weights, FOLDER / "line_reader.safetensors")
print(f"{checkpoint_path.stat().st_size / 1e6:.1f} MB -> {small.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## 3. What inference needs besides weights
#
# The new file is a sixth of the checkpoint's size, but it can't read by itself. Weights are
# numbers. Some code must define what to compute with them, how to prepare a page, and what the
# result means.
#
# | what | where it is in training | what happens if a service gets it wrong |
# |---|---|---|
# | the network's layers | a Python class | the weights do not load |
# | finding lines, normalizing, cutting strips | more Python | it reads noise |
# | which number stands for which character | a list in a module | it returns a different text |
# | joining characters and lines | more Python | letters are doubled, lines run together |
#
# All of this belongs in one file, so all of it has to be *one module*: `ParagraphReader` takes
# pages, returns **tokens** (the ids of characters), and has the list of characters as an attribute.
# Build it from two networks: the packaged line finder, which finds the lines, and your line reader.

# %%
from text_recognizer.models.paragraph_reader import ParagraphReader
from text_recognizer.train.sample_lines import page_tensor
from text_recognizer.weights import load_paragraph_reader

torch.set_grad_enabled(False)  # nothing is trained from here on
reader = ParagraphReader(load_paragraph_reader().finder, line_reader).eval()
page = page_tensor(PAGE)
tokens = reader(page)
print("in: ", tuple(page.shape), page.dtype)
print("out:", tuple(tokens.shape), tokens[0, :9].tolist(), "...")


# %%
def read(module, page):
    return "".join(module.tokens[token] for token in module(page)[0].tolist())


print(read(reader, page))

# %% [markdown]
# (A batch of one page has no padding, so `read` doesn't have to skip anything. Exercise 6 handles
# padding properly.)
#
# `reader` is still Python: to run it, a service would need the right version of this repository.
# The next step turns it into a form that PyTorch runs without the repository.

# %% [markdown]
# ## 4. Trace or script
#
# PyTorch can turn Python into *TorchScript*, its own small language, in two ways.
#
# - `torch.jit.trace` **runs** the function on an example and records each tensor operation.
# - `torch.jit.script` **reads** its source code and translates it, branches and loops included.
#
# Both have been deprecated since PyTorch 2.9 and warn at each call. PyTorch also says that they are
# not supported on Python 3.14 and may break there. Section 7 comes back to that. One such warning
# is shown here; the others are filtered out.

# %%
import warnings


def move(x: torch.Tensor) -> torch.Tensor:
    if bool(x.sum() > 0):
        return x + 1
    return x - 1


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    scripted_move = torch.jit.script(move)
print(caught[0].message)
warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)

# %%
from text_recognizer import compile_routes as routes

traced_move, complaints = routes.traced(move, torch.ones(2))
print("--- traced\n" + traced_move.code)
print("--- scripted\n" + scripted_move.code)

# %% [markdown]
# The trace has no `if`. The sum of the example was positive, so `x + 1` ran, and that is all the
# trace knows. On another input it is wrong:

# %%
x = -torch.ones(2)
ways = {"Python": move, "scripted": scripted_move, "traced": traced_move}
show_table(
    [[way, str(run(x).tolist())] for way, run in ways.items()],
    ["way", "result for [-1.0, -1.0]"],
    "Table 2. One function, three ways to run it.",
)

# %% [markdown]
# In the recognizer, many decisions depend on the data in this way: how many lines there are, where
# each one runs, how long it is. The tracer notices when a tensor becomes a Python number, and
# warns. Trace the whole recognizer on the page of Figure 1, which has five lines:

# %%
traced, complaints = routes.traced(reader, page)
print(f"More than {len(complaints) // 40 * 40} warnings. The first one:")
print(complaints[0].split(". ")[0])
print("The trace reads its own page right:", read(traced, page) == read(reader, page))

# %% [markdown]
# On its own page, the trace is perfect. A test with only this page would pass. Now try three
# others:


# %% tags=["nbval-ignore-output"]
def page_number(number):
    return page_tensor(Path(f"data/pages/show_font_{number:03}.jpg"))


pages = {f"show_font_{n:03}.jpg": page_number(n) for n in (3, 8, 5, 11)}
texts = {name: read(reader, page) for name, page in pages.items()}
show_table(
    draw.compare_readings(texts, lambda name: read(traced, pages[name])),
    ["page", "lines", "lines in the trace", "text of the trace"],
    "Table 3. The trace of a page with five lines, on other pages.",
)

# %% [markdown]
# Whatever the page, the trace finds five lines or stops with an error. The error is the lucky case.
# The other results look like text, and no exception shows that they are wrong:

# %%
name = "show_font_005.jpg"
beside = {"Python": texts[name], "trace": read(traced, pages[name])}
show(
    draw.page_with_texts(Image.open(f"data/pages/{name}"), beside),
    "Figure 3. A page with ten lines, read by the recognizer and by its trace.",
    "The recognizer reads ten whole lines. The trace gives five, most of them cut off.",
    width=860,
)

# %% [markdown]
# Lines are skipped or run into each other, and the ones that are read are cut off: the trace looks
# only where the lines of its own page were.
#
# So this recognizer must be *scripted*. That has a price. TorchScript is a small language with
# fixed types, and rejects Python code whose types it can't work out. For example, this function,
# which joins lines of tokens into a text, is plain Python:


# %%
def join_in_python(lines, newline, padding):
    text = []
    for row in lines:
        tokens = row[row != padding].tolist()
        if tokens:
            text += [newline, *tokens]
    return torch.tensor(text[1:])


# %%
try:
    torch.jit.script(join_in_python)
except RuntimeError as error:
    print(str(error).strip().split("\n")[0])

# %% [markdown]
# ### Exercise 3: Make it scriptable (15 minutes)
#
# Difficulty ●●●○○ · Importance ●●●○○
#
# Write `join_lines`, which does the same as `join_in_python` and can be scripted. The number of
# lines and the length of each depend on the data, so a trace of it would be wrong. For a blank page
# it must return what the recognizer's `forward` returns: an empty tensor of integers.

# %% tags=["exercise"]
import torch
from torch import Tensor


def join_lines(lines: Tensor, newline: int, padding: int) -> Tensor:
    """The lines of a page as one text.

    Args:
        lines: (N, T) int64, the token ids of N lines, each padded at its end; N and T may be 0.
        newline: the token to put between two lines.
        padding: the token that fills up a line; a line of only padding is left out.

    Returns:
        (S,) int64, the tokens of the text without padding; empty if there is no text.
    """
    ### BEGIN SOLUTION
    text: list[int] = []
    for row in lines:
        tokens: list[int] = row[row != padding].tolist()
        if len(tokens) > 0:
            text.append(newline)
            text.extend(tokens)
    return torch.tensor(text[1:], dtype=torch.long)
    ### END SOLUTION


# %% tags=["check"]
checks.join_lines(join_lines)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Start from `join_in_python` and fix one complaint after another. An empty list needs its type,
# `text: list[int] = []`, and so does the result of `.tolist()`. A list can't be a condition, but
# comparing its length with 0 can. There is no `*tokens`, but lists have `append` and `extend`. And
# what is the dtype of a tensor made from an empty list?
#
# </details>

# %% [markdown]
# The recognizer's own loops are already written in this style. Script your function and pass it the
# recognizer's lines: the result is the text of the page.

# %%
scripted_join = torch.jit.script(join_lines)
lines = reader.read_lines(page)[0]
same = torch.equal(scripted_join(lines, reader.newline, reader.padding), tokens[0])
print(f"{len(lines)} lines, joined as in the recognizer: {same}")

# %% [markdown]
# ## 5. Parity: does it still give the same results?
#
# Scripting the whole recognizer is one call. `script_paragraph_reader` is `torch.jit.script` in
# evaluation mode, without the warning.

# %%
from text_recognizer.compile import script_paragraph_reader

scripted = script_paragraph_reader(reader)
equal = [read(scripted, page) == texts[name] for name, page in pages.items()]
print(f"the same text on {sum(equal)} of {len(equal)} pages")

# %% [markdown]
# Equal texts are what counts, but they hide a lot. The line reader gets a **strip**, the picture of
# one line, goes through it in narrow pieces, the **frames**, and gives each class (character) a
# score in each frame. The text comes from the best class of each frame. It stays the same while the
# scores (logits) drift, until one day a letter changes. So compare the scores too. Comparing
# numbers has its own traps: `max(0.0, nan)` is `0.0` in Python, and subtracting two tensors of
# different shapes may work without an error.

# %% [markdown]
# ### Exercise 4: A parity report (15 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●●
#
# Given two modules and some batches, return the number of batches on which they agree, and the
# largest absolute difference between two corresponding scores. Outputs agree if the best class is
# the same in every frame. If an output's shape or dtype differs from the original's, or either
# output has a NaN, count the batch as *not* in agreement and the difference as infinite.
#
# A module may change its input in place, so give each module its own copy.

# %% tags=["exercise"]
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def parity(
    original: Callable[[Tensor], Tensor],
    compiled: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
) -> tuple[int, float]:
    """How far a compiled module is from the original.

    Args:
        original, compiled: each takes a batch and returns scores (N, T, C) for N strips,
            T frames and C classes.
        batches: inputs, which are not changed.

    Returns:
        The number of batches on which both agree, and the largest absolute difference between
        two corresponding scores in any batch, as a float: `math.inf` if outputs can't be compared.
    """
    ### BEGIN SOLUTION
    same, largest = 0, 0.0
    for batch in batches:
        one, other = original(batch.clone()), compiled(batch.clone())
        comparable = one.shape == other.shape and one.dtype == other.dtype
        if not comparable or bool(one.isnan().any() or other.isnan().any()):
            largest = math.inf
            continue
        same += torch.equal(one.argmax(2), other.argmax(2))
        largest = max(largest, float((one - other).abs().max()))
    return same, largest
    ### END SOLUTION


# %% tags=["check"]
checks.parity(parity)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Inside the loop, compare shape and dtype first, then look for NaN (`isnan().any()`). For such a
# batch set the difference to `math.inf` and `continue`. Only then subtract and take `argmax(2)`.
# `torch.equal` is false for different shapes; `==` on tensors compares element by element.
#
# </details>

# %% [markdown]
# Run your report on the line reader, with the strips of a page. The second row is for comparison:
# it uses the weights from section 2, which were stored in half precision.

# %%
from text_recognizer.train.sample_lines import sample_lines
from text_recognizer.weights import load_weights

strips = [line.strip[None] for line in sample_lines(Path("data/pages"), "show", limit=1)[:6]]
halved = LineReader().eval()
load_weights(halved, small)

# %% tags=["nbval-ignore-output"]
rows = []
for name, module in {"scripted": scripted.reader, "half precision": halved}.items():
    same, largest = parity(line_reader, module, strips)
    rows.append([name, f"{same} of {len(strips)}", f"{largest:.1g}"])
    assert same == len(strips) and (largest > 0) == (name == "half precision")
columns = ["line reader", "lines that agree", "largest difference in scores"]
show_table(rows, columns, "Table 4. Parity with the line reader in Python.")

# %% [markdown]
# Scripting changes nothing here. Half precision does: the scores move. On these few lines they move
# too little to change the best class of any frame; over many more lines some will change. That
# isn't necessarily worse: according to the [weights' card](../data/weights/README.md), the packaged
# weights make as many errors in half precision as in single precision. But it is a *different*
# model, and a parity report is how you notice that before your users do.

# %% [markdown]
# ## 6. One file, loaded with only PyTorch
#
# `script_paragraph_reader` hid two calls behind a name. Now make them yourself. What counts in the
# end is not the script in memory, but the one loaded back from the file.

# %% [markdown]
# ### Exercise 5: Compile, save, load (10 minutes)
#
# Difficulty ●○○○○ · Importance ●●●●●
#
# Script a module with `torch.jit.script`, save it at a path, and return what `torch.jit.load` loads
# from the file. The file is for inference: it must load in evaluation mode, even if the module you
# are given is still in training mode. The file may have been saved on a machine with a GPU, so load
# it onto the CPU.

# %% tags=["exercise"]
from pathlib import Path

import torch


def compile_and_load(module: torch.nn.Module, path: Path) -> torch.jit.ScriptModule:
    """Scripts a module, saves it, and loads the file.

    Args:
        module: any module that can be scripted, in training or evaluation mode.
        path: the file to write.

    Returns:
        The script loaded from the file, in evaluation mode, on the CPU.
    """
    ### BEGIN SOLUTION
    torch.jit.script(module.eval()).save(path)
    return torch.jit.load(path, map_location="cpu")
    ### END SOLUTION


# %% tags=["check"]
checks.compile_and_load(compile_and_load)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `module.eval()` switches the mode and returns the module. The mode is saved with the script, so
# switch before you save. `ScriptModule.save(path)` writes; `torch.jit.load(path,
# map_location="cpu")` reads. Tracing would pass a test with one example and fail the next.
#
# </details>

# %% [markdown]
# Compile the recognizer with your function, and compare the file's size with the others.

# %%
script_path = FOLDER / "paragraph_reader.pt"
loaded = compile_and_load(reader, script_path)
print("the file reads the same as the module:", read(loaded, page) == read(reader, page))
finder_path = Path("data/weights/line_finder.safetensors")
files = {
    "checkpoint": parts,
    "TorchScript": draw.archive_sizes(script_path),
    "safetensors, half": {"weights": small.stat().st_size + finder_path.stat().st_size},
}

# %%
show(
    draw.megabytes(files),
    "Figure 4. What training resumes from, what is served, and what is stored.",
    "Checkpoint 36 MB, TorchScript 13 MB, safetensors in half precision 7 MB.",
)

# %% [markdown]
# The safetensors files are the smallest, which is why the repository stores those. But the
# TorchScript file is the only one of the three that can read. It is a zip archive:

# %%
show_table(
    draw.archive_parts(script_path),
    ["part", "what it is", "files"],
    "Table 5. Inside the TorchScript file.",
)
print(draw.code_in_archive(script_path, "paragraph_reader", "forward", lines=14))

# %% [markdown]
# That is the `forward` of [paragraph_reader.py](../text_recognizer/models/paragraph_reader.py),
# translated. Look at the `for` over the lines and at the `if`s: the control flow has survived. Code
# in an archive is still code, though. Load scripts only from people you trust.

# %% [markdown]
# ### Exercise 6: Read using only the file (10 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●○
#
# Given a loaded script and one page, return the text. The script says what its tokens mean:
# `script.tokens` has the string of each token id, and `script.ignored` lists the ids that add
# nothing to the text. Another script may use other ids, so don't hard-code any. Import inside the
# function what it needs besides torch: below, it runs by itself in another process.

# %% tags=["exercise"]
import torch
from torch import Tensor


def page_text(script: torch.jit.ScriptModule, page: Tensor) -> str:
    """The text on a page, using only what the script knows.

    Args:
        script: takes pages (B, 1, H, W) uint8 and returns token ids (B, S).
        page: (H, W) uint8, one page in gray.

    Returns:
        The text, its lines separated by newlines.
    """
    ### BEGIN SOLUTION
    with torch.inference_mode():
        tokens = script(page[None, None])[0].tolist()
    return "".join(script.tokens[token] for token in tokens if token not in script.ignored)
    ### END SOLUTION


# %% tags=["check"]
checks.page_text(page_text)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `page[None]` adds a dimension in front. The script returns a row of ids for each page of the
# batch; you gave it one page. The newlines between the lines are tokens as well, so all you have to
# do is join the strings of the ids that are not ignored.
#
# </details>

# %% [markdown]
# Now the proof. The next cell writes a program that contains your function, and runs it in another
# process. There, `text_recognizer` and `pytorch_lightning` can't be imported: if a module is set to
# `None` in `sys.modules`, Python reports that it is not found. If the script needed anything from
# this repository, it would stop with an error.

# %%
import inspect
import subprocess
import sys

program = f"""import sys
sys.modules.update(text_recognizer=None, lab_utils=None, pytorch_lightning=None)
import torch
from torch import Tensor
{inspect.getsource(page_text)}
script, page = torch.jit.load(sys.argv[1]), torch.load(sys.argv[2])
print(page_text(script, page))"""

# %%
torch.save(page[0, 0].clone(), FOLDER / "page.pt")
command = [sys.executable, "-W", "ignore", "-c", program, script_path, FOLDER / "page.pt"]
print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

# %% [markdown]
# One file, one dependency, and it reads. This is what the rest of the lab deploys. `lab compile`
# makes it from the packaged weights, and the class `ParagraphTextRecognizer` is a wrapper around
# your `page_text`: it adds other kinds of images, batches, error messages and the language model.

# %% [markdown]
# ## 7. TorchScript today
#
# TorchScript isn't the only way to compile a model. Of the four others here, three produce a file:
#
# - **torch.export** makes one graph of tensor operations, without Python and without its branches.
#   Sizes may be left open, such as the number of lines.
# - **ONNX** is a graph in a format that other runtimes read, such as ONNX Runtime. The table uses
#   PyTorch's older exporter (`dynamo=False`); the default one also needs the package `onnxscript`.
# - **AOTInductor** compiles an exported graph to machine code, by way of C++.
# - **torch.compile** speeds up a running Python process. It produces no file to ship.
#
# What do they do with *this* recognizer? The functions in
# [compile_routes.py](../text_recognizer/compile_routes.py) try it. They export a model, save it,
# load it, and compare it with the original on inputs whose shape differs from that of the example
# used for the export. The C++ compiler takes a while.

# %% tags=["nbval-ignore-output"]
outcomes = [
    routes.torchscript_whole(reader, page),
    routes.export_whole(reader, page),
    routes.onnx_whole(reader, page),
    routes.export_line_reader(line_reader),
    routes.onnx_line_reader(line_reader),
    routes.aotinductor_line_finder(reader.finder),
]
columns = ["route", "part", "result", "MB", "largest difference", "what stopped it"]
show_table(draw.outcome_rows(outcomes), columns, "Table 6. Ways out of Python, tried here and now.")

# %% [markdown]
# The two networks can be exported, the line reader for any number of strips of any width. (If there
# is no C++ compiler, the table says so.) The whole recognizer can be exported only as TorchScript.
#
# `torch.export` names the line that stops it. That line is in
# [normalization.py](../text_recognizer/models/normalization.py) and checks from the pixels whether
# the page is light on dark. Such a choice can be written as `torch.where`, which computes both
# branches. The next obstacle is a `float(...)` of a tensor in the same function; the value can stay
# a tensor. The third is in [line_tracing.py](../text_recognizer/models/line_tracing.py): a list of
# all the places where a line was seen, however many there are, and the loop that joins them. That
# loop is the line-following algorithm itself; it can't be rewritten as tensor operations. (ONNX
# stops at an operation that it doesn't support. If it did support it, the file would hold a trace
# and be silently wrong: this exporter traces.)
#
# So without TorchScript the recognizer would look different: two exported networks, and between
# them a program, in Python or C++, that normalizes, follows lines and cuts strips. That program
# would have to be shipped and versioned with the networks. As long as `torch.jit` exists, one file
# is simpler. The price is known: no new features, and one day a PyTorch that no longer loads it.

# %% [markdown]
# ## Summary
#
# - A checkpoint is for resuming training: two thirds of it belong to the optimizer, and only one
#   entry, the state dict, belongs to the network.
# - A pickle is a program. `weights_only=True` refuses everything that isn't plain data, and
#   safetensors has no place for a program.
# - Inference needs weights *and* code, a vocabulary, and pre- and post-processing: put them all in
#   one module.
# - A trace keeps what happened on one example. If branches and loops depend on the data, a trace is
#   silently wrong; a script keeps them.
# - Parity is something to measure: are the tokens the same, and how large is the largest
#   difference? Let no NaN and no wrong shape or dtype slip through.
# - TorchScript is deprecated. `torch.export` handles the networks, but not the data-dependent loops
#   between them.

# %% [markdown]
# ## What to try next
#
# - Trace the recognizer on a page with ten lines and read pages with five. What comes out now?
# - Write `move` with `torch.where` instead of `if`, and trace it again. Why is the trace correct
#   this time?
# - Round the line reader's weights to `bfloat16` and back. What does your `parity` report?
# - **Next:** [Staging a model with Weights & Biases](02_staging_with_wandb.ipynb), which records
#   where such a file comes from and who may release it.
