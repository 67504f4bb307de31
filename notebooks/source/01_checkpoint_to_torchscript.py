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
# - why a checkpoint from a stranger is a program, and which file is not;
# - why a traced recognizer silently returns wrong text, and a scripted one does not;
# - how to prove that a compiled model says what the original says;
# - how to load it with only PyTorch, and what comes after TorchScript.

# %% tags=["setup"]
# The set-up cell: `lab notebooks build` fills it in.

# %% [markdown]
# ## What comes out in the end
#
# Training leaves a *checkpoint*: a file to go on training from. A service wants something else: one
# file that it loads and asks. This lab's recognizer is such a file. Here it is made from the
# [packaged weights](../data/weights/README.md), loaded, and given a page.

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
# `language_model="none"` uses the network by itself. (The lab's commands and services also ask
# what English looks like; [notebook 03](03_paragraph_text_recognizer.ipynb) comes to that.)
#
# In the next hour you make such a file yourself, from a checkpoint of your own training run, and
# find out what each step is for.

# %% [markdown]
# ## 1. What is in a checkpoint
#
# First you need one. `train_briefly` trains the line reader, the network that reads one line of
# handwriting, for three steps on a few lines of the sample pages. That is far too short to learn
# anything, but it is PyTorch Lightning's real training loop, and the checkpoint is of the kind that
# a long run leaves.

# %%
import torch

from text_recognizer.train.brief import train_briefly

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
# Given any nesting of dictionaries, lists and tuples, return how many bytes its tensors take in a
# file that `torch.save` writes.
#
# There is a catch. A tensor is a *view* of a *storage*, the memory that holds the numbers, and
# `torch.save` writes storages: each one once, however many tensors look into it, and each one
# whole, even if a tensor shows a small part of it.

# %% tags=["exercise"]
from typing import Any

import torch


def stored_bytes(value: Any) -> int:
    """Bytes of all storages that tensors in a nested value look into.

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
# `tensor.untyped_storage()` is the storage; it knows its address, `data_ptr()`, and its size,
# `nbytes()`. Two tensors share a storage if the addresses are equal, so collect the sizes in a
# dictionary by address. Walk through the nesting with recursion, or with a list of values that are
# still to be looked at.
#
# </details>

# %%
rows = [
    [name, draw.PURPOSES.get(name, "something else"), stored_bytes(value)]
    for name, value in checkpoint.items()
]
show_table(rows, ["entry", "what it is there for", "bytes of tensors"], "Table 1. The checkpoint.")

# %% [markdown]
# Two entries hold all the tensors, and the optimizer's is twice as large as the network's. Adam
# keeps two running means for every weight, of its gradient and of the gradient's square. Without
# them training could not go on as if it had never stopped. Reading needs neither.

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
# machine, and one of the instructions calls a function. The file's author chose which one.

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
# string, call (`REDUCE`). Nothing in there says "object of the class `Surprise`". A file that calls
# `print` is a joke; one that calls `os.system` is not. Loading runs it, before you have seen
# anything of the contents:

# %%
import io

stream = io.BytesIO()
torch.save({"state_dict": {}, "note": Surprise()}, stream)
stream.seek(0)
loaded = torch.load(stream, weights_only=False)
print("loaded:", loaded)

# %% [markdown]
# With `weights_only=True`, the default since PyTorch 2.6, another reader is at work. It knows the
# few calls that tensors and plain containers need, and refuses all others.

# %%
stream.seek(0)
try:
    torch.load(stream, weights_only=True)
except pickle.UnpicklingError as error:
    reason = next(line for line in str(error).split("\n") if "Unsupported" in line)
    print(reason.strip().split(". ")[0])

# %% [markdown]
# The weights that come with this lab are *safetensors* files, which leave no room for a program: a
# length, a header in JSON with the place of each tensor, and bytes.

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
# In `checkpoint["state_dict"]` the names begin with the attribute in which the training module
# keeps the network: `reader.head.weight` is the `head.weight` of `ReaderTraining.reader`. Other
# names may be beside them: a teacher, an average of the weights, metrics.
#
# Given a checkpoint and a prefix such as `"reader."`, return the network's own state dict.

# %% tags=["exercise"]
from typing import Any

from torch import Tensor


def inference_weights(checkpoint: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    """The state dict of one network out of a Lightning checkpoint.

    Args:
        checkpoint: as `torch.load` returns it; it is not changed.
        prefix: with which the network's names begin, with the dot: "reader.".

    Returns:
        The network's tensors by the names that the network itself knows them by.
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
# A dictionary comprehension with a condition does it. For the names, mind that the prefix may occur
# in the middle of a name, too, and that `str.lstrip` takes off a *set of characters*, not a prefix.
#
# </details>

# %% [markdown]
# Now the network can do without its training. `load_state_dict` is strict: a name too few or too
# many is an error, so this one line tells that nothing is missing. `save_weights` stores the
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
# A sixth of the size, but the file cannot read. Weights are numbers; somebody must know what to
# compute with them, what to do with a page before, and what the result means.
#
# | what | where it is in training | what happens if a service gets it wrong |
# |---|---|---|
# | the network's layers | a Python class | the weights do not load |
# | finding lines, normalizing, cutting strips | more Python | it reads noise |
# | which number is which character | a list in a module | it reads another text |
# | joining characters and lines | more Python | letters are doubled, lines run together |
#
# All of it belongs in the one file. So all of it has to be *one module*: `ParagraphReader` takes
# pages and returns **tokens**, the numbers of characters, and has the list of characters as an
# attribute. Build it from the packaged line finder, the network that says where lines are, and your
# line reader.

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
# (In a batch of one page there is no padding, so `read` need not leave anything out. Exercise 6
# does it properly.)
#
# `reader` is still Python: to run it, a service would need this repository in the right version.
# The next step is a form that PyTorch runs without it.

# %% [markdown]
# ## 4. Trace or script
#
# PyTorch has two ways to make *TorchScript*, its own small language, of Python.
#
# - `torch.jit.trace` **runs** the function on an example and writes down each tensor operation.
# - `torch.jit.script` **reads** its source code and translates it, with branches and loops.
#
# Both have been deprecated since PyTorch 2.9 and say so at each call. Section 7 comes back to that;
# here one such warning is shown, and the others are kept out of the outputs.

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
# The trace has no `if`. The sum of the example was positive, so `x + 1` is what ran, and what ran
# is all that a trace knows. On another input it is wrong:

# %%
x = -torch.ones(2)
ways = {"Python": move, "scripted": scripted_move, "traced": traced_move}
show_table(
    [[way, str(run(x).tolist())] for way, run in ways.items()],
    ["way", "result for [-1.0, -1.0]"],
    "Table 2. One function, three ways to run it.",
)

# %% [markdown]
# The recognizer has many such places: how many lines there are, where each one runs, how long it
# is. The tracer notices when a tensor becomes a Python number, and warns. Trace the whole
# recognizer on the page of figure 1, which has five lines:

# %%
traced, complaints = routes.traced(reader, page)
print(f"More than {len(complaints) // 40 * 40} warnings. The first one:")
print(complaints[0].split(". ")[0])
print("The trace reads its own page right:", read(traced, page) == read(reader, page))

# %% [markdown]
# On its own page, it is perfect. A test with this one page would pass. Now three others:


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
# The others look like text, and no exception tells that they are wrong:

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
# Lines are skipped or run into each other, and those that are read are cut off: the trace looks
# where the lines of its own page were, and no further than they went.
#
# So this recognizer must be *scripted*. That has a price. TorchScript is a small language with
# fixed types, and takes no Python that it cannot type. For example, this function, which joins
# lines of tokens to a text, is plain Python:


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
# Write `join_lines`, which does the same and can be scripted. The number of lines and the length of
# each depend on the data, so a trace of it would be wrong. It must also return what `forward` of
# the recognizer returns for a blank page: an empty tensor of whole numbers.

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
        (S,) int64, the tokens of the text without padding; empty if there is none.
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
# Start from `join_in_python` and fix one complaint after the other. An empty list needs its type,
# `text: list[int] = []`, and so does the result of `.tolist()`. A list is no condition; its length
# compared with 0 is one. There is no `*tokens`, but lists have `append` and `extend`. And of which
# type is a tensor that is made of an empty list?
#
# </details>

# %% [markdown]
# The recognizer's own loops are written in this style already. Give its lines to your function, as
# a script: the result is the text of the page.

# %%
scripted_join = torch.jit.script(join_lines)
lines = reader.read_lines(page)[0]
same = torch.equal(scripted_join(lines, reader.newline, reader.padding), tokens[0])
print(f"{len(lines)} lines, joined as in the recognizer: {same}")

# %% [markdown]
# ## 5. Parity: does it still say the same?
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
# one line, goes through it in narrow pieces, the **frames**, and gives each character, or class, a
# score in each frame. The best class of each frame makes the text, which stays the same while the
# scores (logits) drift, until one day one letter flips. So one compares the scores, too. Comparing
# numbers has its own traps: `max(0.0, nan)` is `0.0` in Python, and two tensors of different
# shapes may be subtracted without an error.

# %% [markdown]
# ### Exercise 4: A parity report (15 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●●
#
# Given two modules and some batches, return on how many batches they say the same, and the largest
# absolute difference of any two scores. Outputs say the same if the best class is the same in every
# frame. An output of another shape or dtype than the original's, and a NaN in either output, count
# as *not* the same and as infinitely different.
#
# A module may change its input in place, so give each its own copy.

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
        original, compiled: each takes a batch and returns scores (N, T, C): of N strips, in T
            frames, for C classes.
        batches: inputs, which are not changed.

    Returns:
        The number of batches on which both say the same, and the largest absolute difference of
        two scores in all batches as a float, `math.inf` if outputs can't be compared.
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
# Inside the loop, compare shape and dtype first and look for NaN (`isnan().any()`) next; for such a
# batch set the difference to `math.inf` and `continue`. Only then subtract and take `argmax(2)`.
# `torch.equal` is false for different shapes; `==` on tensors compares element by element.
#
# </details>

# %% [markdown]
# Your report on the line reader, with the strips of a page. The second row is for comparison: it
# loads the weights of section 2, which were stored in half precision.

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
columns = ["line reader", "lines that say the same", "largest difference of two scores"]
show_table(rows, columns, "Table 4. Parity with the line reader in Python.")

# %% [markdown]
# Scripting changes nothing here. Half precision does: the scores move. On these few lines they
# move too little to change the best class of any frame; on many more lines some will change. That
# need not be a loss: by the [weights' card](../data/weights/README.md), the packaged weights make
# as many errors in half precision as in single. But it is *another* model, and a parity report is
# how you notice that before your users do.

# %% [markdown]
# ## 6. One file, loaded with only PyTorch
#
# `script_paragraph_reader` hid two calls behind a name. Now make them yourself: what counts in the
# end is not the script in memory, but the one that comes back out of the file.

# %% [markdown]
# ### Exercise 5: Compile, save, load (10 minutes)
#
# Difficulty ●○○○○ · Importance ●●●●●
#
# Script a module with `torch.jit.script`, save it at a path, and return what `torch.jit.load` makes
# of the file. The file is for inference: it loads as a module in evaluation mode, even if
# the module that you are given is still in training mode. The file may have been saved by a
# machine with a GPU, so load it onto the CPU.

# %% tags=["exercise"]
from pathlib import Path

import torch


def compile_and_load(module: torch.nn.Module, path: Path) -> torch.jit.ScriptModule:
    """Scripts a module, saves it, and loads the file.

    Args:
        module: any module that can be scripted, in training or evaluation mode.
        path: the file to write.

    Returns:
        What the file holds, in evaluation mode, on the CPU.
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
# `module.eval()` switches the mode and returns the module. The mode goes into the file with the
# script, so switch before you save. `ScriptModule.save(path)` writes; `torch.jit.load(path,
# map_location="cpu")` reads. Tracing would pass a test with one example and fail the next.
#
# </details>

# %% [markdown]
# Compile the recognizer with it, and put the file's size beside the others.

# %%
script_path = FOLDER / "paragraph_reader.pt"
loaded = compile_and_load(reader, script_path)
print("the file reads as the module does:", read(loaded, page) == read(reader, page))
finder_path = Path("data/weights/line_finder.safetensors")
files = {
    "checkpoint": parts,
    "TorchScript": draw.archive_sizes(script_path),
    "safetensors, half": {"weights": small.stat().st_size + finder_path.stat().st_size},
}

# %%
show(
    draw.megabytes(files),
    "Figure 4. What is trained from, what is served, and what is stored.",
    "Checkpoint 36 MB, TorchScript 13 MB, safetensors in half precision 7 MB.",
)

# %% [markdown]
# The safetensors files are smallest, which is why the repository has those. But TorchScript is the
# only one of the three that can read. It is a zip archive:

# %%
show_table(
    draw.archive_parts(script_path),
    ["part", "what it is", "files", "kB, about"],
    "Table 5. Inside the TorchScript file.",
)
print(draw.code_in_archive(script_path, "paragraph_reader", "forward", lines=14))

# %% [markdown]
# That is the `forward` of [paragraph_reader.py](../text_recognizer/models/paragraph_reader.py),
# translated. Look at the `for` over the lines and at the `if`s: the control flow has survived. Code
# in an archive is still code, though. Load scripts only from people whom you trust.

# %% [markdown]
# ### Exercise 6: Read with what the file has (10 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●○
#
# Given a loaded script and one page, return the text. The script brings the meaning of its tokens
# along: `script.tokens` is the string of each token id, and `script.ignored` lists the ids that
# leave no trace in a text. Another script may have others, so take nothing for granted.

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
# `page[None]` puts a dimension in front. The script returns a row of ids for each page of the
# batch; you gave it one page. The newlines between the lines are tokens as well, so joining the
# strings of the ids that are not ignored is all there is to do.
#
# </details>

# %% [markdown]
# Now the proof. The next cell writes a program with your function in it, and runs it in another
# process. There, `text_recognizer` and `pytorch_lightning` cannot be imported: what is written as
# `None` in `sys.modules` is "not found". If the script needed anything of this repository, it would
# stop.

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
# makes it from the packaged weights, and the class `ParagraphTextRecognizer` is a shell around your
# `page_text`: it adds all kinds of images, batches, error messages and the language model.

# %% [markdown]
# ## 7. TorchScript today
#
# Four other ways are open, and three of them leave a file:
#
# - **torch.export** makes one graph of tensor operations, without Python and without its branches.
#   Sizes may stay open, as in "any number of lines".
# - **ONNX** is a graph in a format that other runtimes read, such as ONNX Runtime. The table uses
#   PyTorch's older exporter (`dynamo=False`); the default one needs the package `onnxscript`.
# - **AOTInductor** takes an exported graph and compiles it, by way of C++, to machine code.
# - **torch.compile** speeds up a Python process while it runs. It leaves no file to ship.
#
# What do they do with *this* recognizer? The functions in
# [compile_routes.py](../text_recognizer/compile_routes.py) try it. They save, load, and compare on
# inputs of another shape than those they exported with. The C++ compiler takes its time.

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
# The networks can leave, the line reader for any number of strips of any width. (Where a C++
# compiler or `onnxruntime` is missing, the table says so.) The recognizer as a whole can leave one
# way only.
#
# `torch.export` names the line that stops it. It is in
# [normalization.py](../text_recognizer/models/normalization.py) and asks the pixels whether the
# page is light on dark. Such a choice can be written as `torch.where`, which computes both. The
# next stop is a `float(...)` of a tensor in the same function; it can stay a tensor. The third is
# in [line_tracing.py](../text_recognizer/models/line_tracing.py): a list of all places where a line
# was seen, as many as there are, and the loop that joins them. That loop *is* the following of
# lines, and can't be rewritten as tensor operations. (ONNX stops at an operation that it does not
# have. If it had it, the file would hold a trace, silently wrong: this exporter traces.)
#
# So the recognizer without TorchScript looks different: two exported networks, and between them a
# program, in Python or C++, that normalizes, follows lines and cuts strips, shipped and versioned
# with them. While `torch.jit` is there, one file is simpler. The price is known: no new features,
# and one day a PyTorch that does not load it any more.

# %% [markdown]
# ## Summary
#
# - A checkpoint is for training on: two thirds of it are the optimizer's, and only a state dict is
#   the network's.
# - A pickle is a program. `weights_only=True` refuses what is not plain data, and safetensors has
#   no place for it.
# - Inference needs weights *and* code, vocabulary, pre- and post-processing: make them one module.
# - A trace keeps what happened on one example. Where data decides about branches and loops, it is
#   silently wrong; a script keeps them.
# - Parity is a measurement: same tokens, largest difference, and no NaN, shape or dtype that slips
#   through.
# - TorchScript is deprecated. `torch.export` takes the networks, not the loops between them that
#   depend on the data.

# %% [markdown]
# ## What to try next
#
# - Trace the recognizer on a page with ten lines and read pages with five. What comes out now?
# - Write `move` with `torch.where` instead of `if`, and trace it again. Why is the trace right now?
# - Round the line reader's weights to `bfloat16` and back. What does your `parity` say?
# - **Next:** [Staging a model with Weights & Biases](02_staging_with_wandb.ipynb), which keeps on
#   record where such a file comes from, and who may send it out.
