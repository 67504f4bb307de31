"""Checks of notebook 01: what is stored, what inference needs, scripts, parity, and reading."""

import math
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from os.path import commonprefix
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from lab_utils.lessons import checking
from lab_utils.lessons.checking import Answer, attempt, check, expect, expect_type, fail, saying

go_on = partial(checking.go_on, "checkpoint_to_torchscript")


@check
def stored_bytes(function: Answer) -> str:
    """Storages in nested containers, each counted once and whole."""

    def expect_bytes(value: Any, wanted: int, message: str) -> None:
        result = expect_type(attempt(function, value), int, "stored_bytes")
        expect(result == wanted, f"stored_bytes returned {result}, not {wanted}: {message}")

    for dtype, size in ((torch.float32, 4), (torch.float16, 2), (torch.int64, 8), (torch.bool, 1)):
        expect_bytes(
            {"weight": torch.zeros(10, dtype=dtype)},
            10 * size,
            f"the value was a dictionary with 10 numbers of {dtype}, {size} bytes each.",
        )
    expect_bytes(
        {"epoch": 3, "name": "reader", "rate": 1e-4, "none": None, "empty": [], "flag": True},
        0,
        "there was no tensor in the value.",
    )
    deep = {0: {"exp_avg": torch.zeros(4)}, 1: [torch.zeros(2), {"x": [torch.zeros(1)]}]}
    expect_bytes(deep, 28, "look into dictionaries in dictionaries, and into lists in them.")
    expect_bytes((torch.zeros(4), [(torch.zeros(2),)]), 24, "there were tensors in tuples.")
    expect_bytes(OrderedDict(weight=torch.zeros(4)), 16, "an OrderedDict is a dictionary as well.")
    expect_bytes(torch.zeros(3, 5), 60, "the value itself was a tensor: 15 numbers, 4 bytes each.")
    weight = torch.nn.Parameter(torch.zeros(5))
    expect_bytes([weight], 20, "a torch.nn.Parameter is a tensor as well: see isinstance.")
    shared = torch.zeros(100)
    expect_bytes(
        {"embedding": shared, "head": shared.view(10, 10), "once more": [shared.t()]},
        400,
        "three tensors share one storage, which is written once.",
    )
    expect_bytes(
        [shared[:50], shared[50:]],
        400,
        "two tensors share one storage, at different places, and it is written once.",
    )
    expect_bytes(
        {"last": shared[99:], "first": shared[:1], "steps": shared[::2]},
        400,
        "three tensors share one storage, at different places, and it is written once.",
    )
    expect_bytes(
        [torch.zeros(1000)[:3]],
        4000,
        "the tensor shows 3 numbers of a storage with 1000, and the whole storage is written.",
    )
    expect_bytes(
        [torch.zeros(8), torch.zeros(8)],
        64,
        "two equal tensors with separate storages are both written.",
    )
    return "storages are found at any depth, and counted once and whole."


@check
def inference_weights(function: Answer) -> str:
    """The right names without their prefix, the right tensors, and nothing else."""
    for prefix in ("reader.", "model.reader."):
        generator = torch.Generator().manual_seed(1)
        own = ["head.weight", "encoder.head.bias", "adder.weight", f"inner.{prefix}weight"]
        strangers = [
            "cer.0.errors",
            f"{prefix[:-1]}_average.head.weight",
            f"teacher.{prefix}head.weight",
        ]
        network = {name: torch.rand(2, 3, generator=generator) for name in own}
        state = {prefix + name: tensor for name, tensor in network.items()}
        state |= {name: torch.rand(2, 3, generator=generator) for name in strangers}
        checkpoint = {"epoch": 1, "state_dict": OrderedDict(state), "optimizer_states": [{}]}
        result = expect_type(attempt(function, checkpoint, prefix), dict, "inference_weights")
        _expect_names(set(result), network, strangers, prefix)
        for name, tensor in network.items():
            expect(
                isinstance(result[name], Tensor) and torch.equal(result[name], tensor),
                f'"{name}" does not have the value of "{prefix}{name}".',
            )
    return "only the network's weights are returned, under their own names."


def _expect_names(found: set, network: dict, strangers: list[str], prefix: str) -> None:
    for name in network:
        expect(
            prefix + name not in found,
            f'"{prefix}{name}" still has its prefix: the network itself knows it as "{name}".',
        )
    missing = sorted(set(network) - found)
    more = sorted(map(str, found - set(network)))
    if missing and more:
        wanted = max(missing, key=lambda name: len(commonprefix([name[::-1], more[0][::-1]])))
        fail(
            f'"{prefix}{wanted}" should have become "{wanted}", but there is "{more[0]}": look at '
            "what is removed from a name, and where."
        )
    expect(not missing, f'"{missing[0] if missing else ""}" is missing from the result.')
    origin = [name for name in strangers if more and name.endswith(more[0].split(".")[-1])]
    expect(
        not more,
        f'the result has "{more[0] if more else ""}", which is not the network\'s: the names '
        f'{", ".join(origin)} do not begin with "{prefix}".',
    )


@check
def join_lines(function: Answer) -> str:
    """The same text in Python and as a script, for pages of any number of lines."""
    newline, padding = 96, 97
    pages = {
        "a page of two lines": [[5, 6], [7, 8, 9]],
        "a page of one line": [[5, 6]],
        "a page whose middle line is only padding": [[5], [], [6, 7]],
        "a page whose first line is only padding": [[], [5, 6]],
        "a page of seven lines": [[n, n + 1] for n in range(1, 8)],
        "a page whose lines are only padding": [[], []],
        "a page without lines": [],
    }
    for name, lines in pages.items():
        _expect_joined(function, "join_lines", name, lines, newline, padding)
    scripted = _scripted(function)
    for name, lines in reversed(pages.items()):
        _expect_joined(scripted, "join_lines as a script", name, lines, newline, padding)
    _expect_joined(function, "join_lines", "a page with other tokens", [[97, 2], [3]], 0, 1)
    return "the script joins any number of lines."


def _scripted(function: Answer) -> Answer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scripted = torch.jit.script(function.function)
        except Exception as error:  # whatever the compiler thinks of a student's code
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            place = next((n for n, line in enumerate(lines) if "<--- HERE" in line), None)
            where = f", at `{lines[place - 1]}`" if place else ""
            first = lines[0].rstrip(":. ") if lines else type(error).__name__
            fail(f"torch.jit.script refuses join_lines{where}: {first[:200]}.")

    def run(*arguments: Any) -> Any:
        try:
            return scripted(*arguments)
        except Exception as error:  # the script's own errors are C++ texts of many lines
            lines = [line for line in str(error).splitlines() if line.strip()]
            fail(f"join_lines runs in Python, but its script stops with: {lines[-1].strip()[:200]}")

    return Answer(run, "join_lines")


def _expect_joined(
    function: Answer, called: str, name: str, lines: list[list[int]], newline: int, padding: int
) -> None:
    width = max([len(line) for line in lines], default=0) + (1 if lines else 0)
    page = torch.full((len(lines), width), padding, dtype=torch.long)
    for row, line in zip(page, lines, strict=True):
        row[: len(line)] = torch.tensor(line, dtype=torch.long)
    with saying(f"given {name}"):
        result = expect_type(attempt(function, page, newline, padding), Tensor, "join_lines")
    wanted: list[int] = []
    for line in lines:
        wanted += [newline] * bool(wanted and line) + line
    said = f"{called}, given {name}, returned"
    expect(result.dim() == 1, f"{said} a tensor of shape {tuple(result.shape)}, not (S,).")
    expect(
        result.dtype == torch.long,
        f"{said} {result.dtype}, not torch.int64: check the dtype of an empty list's tensor.",
    )
    found = result.tolist()
    marks = f"with {newline} for the newline and {padding} for the padding"
    expect(padding not in found, f"{said} {found}, which still has padding ({marks}).")
    expect(
        found[:1] != [newline] and found[-1:] != [newline],
        f"{said} {found}, which has a newline at an end: newlines go between lines ({marks}).",
    )
    pairs = zip(found, found[1:], strict=False)
    expect(
        all(pair != (newline, newline) for pair in pairs),
        f"{said} {found}, which has two newlines in a row: a line of only padding is left out.",
    )
    expect(found == wanted, f"{said} {found}, not {wanted} ({marks}).")


@check
def parity(function: Answer) -> str:
    """Same, nearly the same, and all the ways in which outputs differ unnoticed."""
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randn(2, frames, 6, generator=generator) for frames in (4, 7, 3)]
    weight = torch.randn(6, 5, generator=generator)

    def original(batch: Tensor) -> Tensor:
        return batch @ weight

    def altered(change: Callable[[Tensor], Tensor], only: int | None = None) -> Callable:
        def compiled(batch: Tensor) -> Tensor:
            out = original(batch)
            return change(out) if only is None or batch.size(1) == batches[only].size(1) else out

        return compiled

    def spoiling(batch: Tensor) -> Tensor:
        out = original(batch)
        batch.zero_()
        return out

    def one_score(value: float) -> Callable[[Tensor], Tensor]:
        def change(out: Tensor) -> Tensor:
            out[0, 1, 2] += value
            return out

        return change

    def one_frame(out: Tensor) -> Tensor:
        out[0, 1] += 16.0
        return out

    def another_best(out: Tensor) -> Tensor:
        scores = out[1, 2]
        best, second = scores.topk(2).indices.tolist()
        scores[best], scores[second] = scores[second].item(), scores[best].item()
        return out

    swap = float(_top_gap(original(batches[1])))
    nan = float("nan")
    cases: list[tuple[Callable, Callable, tuple[int, float], str]] = [
        (original, original, (3, 0.0), "one module compared with itself"),
        (original, altered(lambda out: out + 0.25), (3, 0.25), "scores that are all 0.25 higher"),
        (original, altered(lambda out: out - 0.25), (3, 0.25), "scores that are all 0.25 lower"),
        (
            original,
            altered(lambda out: out + 0.5, only=0),
            (3, 0.5),
            "scores that differ only in the first batch, by 0.5",
        ),
        (original, altered(another_best, only=1), (2, swap), "a different best class in one frame"),
        (original, altered(one_frame, 1), (3, 16.0), "one frame whose scores are all 16 higher"),
        (original, altered(one_score(nan), 0), (2, math.inf), "a NaN in the first batch"),
        (original, altered(one_score(nan), 2), (2, math.inf), "a NaN in the last batch"),
        (altered(one_score(nan), 1), original, (2, math.inf), "a NaN from the original"),
        (
            altered(one_score(nan), 1),
            altered(one_score(nan), 1),
            (2, math.inf),
            "a NaN in both outputs",
        ),
        (
            original,
            altered(lambda out: out[:, :1], 1),
            (2, math.inf),
            "an output with one frame instead of seven",
        ),
        (
            original,
            altered(lambda out: out.double(), 1),
            (2, math.inf),
            "an output in double precision in one batch",
        ),
        (spoiling, original, (3, 0.0), "an original that overwrites its input"),
        (original, spoiling, (3, 0.0), "a compiled module that overwrites its input"),
    ]
    for one, other, (same, largest), name in cases:
        given = [batch.clone() for batch in batches]
        with saying(f"for {name}"):
            result = expect_type(attempt(function, one, other, given), tuple, "parity")
        expect(len(result) == 2, f"parity returned {len(result)} values, not two.")
        found = expect_type(result[0], int, "parity (first value)")
        difference = expect_type(result[1], (float, int), "parity (second value)")
        told = f"for {name}, parity returned {found} and {difference:.4g}"
        expect(
            not math.isnan(difference),
            f"{told}: a NaN is not a difference; look for it before you compare.",
        )
        expect(
            abs(difference - largest) < 1e-3 if math.isfinite(largest) else difference == largest,
            f"{told}; the largest difference is {largest:.4g}.",
        )
        expect(found == same, f"{told}; {same} of 3 batches agree.")
    return "small and large differences, NaNs, shapes and dtypes are reported."


def _top_gap(out: Tensor) -> Tensor:
    """How much better the best class is than the second in the frame that `parity` swaps."""
    best, second = out[1, 2].topk(2).values
    return best - second


class _Signed(torch.nn.Module):
    """Adds its weight to what is positive, and takes it off the rest; drops half in training."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([weight]))
        self.drop = torch.nn.Dropout(0.5)
        self.tokens = ["a", "\n"]

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            return self.drop(x + self.weight)
        return self.drop(x - self.weight)


@check
def compile_and_load(function: Answer) -> str:
    """What comes back is the file's script, for inference, with both branches."""
    function.uses_a_tool()
    places: list[Any] = []
    load = torch.jit.load

    def recorded(file: Any, map_location: Any = None, *more: Any, **named: Any) -> Any:
        places.append(map_location)
        return load(file, map_location, *more, **named)

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        for number, weight in enumerate((3.0, 5.0)):
            path = Path(folder, f"model {number}.pt")
            module = _Signed(weight).train(number == 0)
            with mock.patch.object(torch.jit, "load", recorded):
                loaded = attempt(function, module, path)
            expect_type(loaded, torch.jit.ScriptModule, "compile_and_load")
            expect(
                path.is_file(),
                f"there is no file at the path, which was {path.name!r}: save the script there.",
            )
            try:
                filed = torch.jit.load(path)
            except (RuntimeError, ValueError):
                fail("torch.jit.load refuses the file: save a script, not a module or its weights.")
            with torch.no_grad():
                module.weight += 100  # what was loaded from a file does not follow
            _expect_signed(loaded, weight, "the module that compile_and_load returned")
            _expect_signed(filed, weight, "the file, loaded once more,")
    expect(
        None not in places,
        "a file that was saved on a machine with a GPU would not load here: tell torch.jit.load "
        "where its tensors go (map_location).",
    )
    return "the script is in the file, for inference, and the file was loaded."


def _expect_signed(script: Any, weight: float, what: str) -> None:
    expect(
        not any(one.training for one in script.modules()),
        f"{what} is in training mode: call eval() before you save.",
    )
    expect(
        getattr(script, "tokens", None) == ["a", "\n"],
        f"{what} has lost the list of tokens, an attribute of the module: script the whole module.",
    )
    for sign in (1, -1):
        x = torch.full((64,), 2.0 * sign)
        result = script(x).detach()
        expect(
            result.shape == x.shape and bool((result == x + sign * weight).all()),
            f"{what} is wrong where the numbers are {'positive' if sign > 0 else 'negative'}: "
            "return what torch.jit.load makes of the file, and script, so that branches stay.",
        )


class _Script(torch.nn.Module):
    """Has the interface of a loaded script: the first row of the page are the ids of its text."""

    def __init__(self, tokens: list[str], ignored: list[int]) -> None:
        super().__init__()
        self.tokens, self.ignored = tokens, ignored

    def forward(self, pages: Tensor) -> Tensor:
        if not isinstance(pages, Tensor) or pages.dim() != 4 or pages.size(1) != 1:
            shape = tuple(pages.shape) if isinstance(pages, Tensor) else type(pages).__name__
            fail(f"page_text gave the script {shape}; it takes pages of shape (B, 1, H, W).")
        if pages.dtype != torch.uint8:
            fail(f"page_text gave the script a page of {pages.dtype}; it takes torch.uint8.")
        if pages.shape[2:] != (4, 12):
            fail(f"a page of 4 x 12 px reached the script as {tuple(pages.shape[2:])}.")
        return pages[:, 0, 0].long()


@check
def page_text(function: Answer) -> str:
    """Two scripts with different vocabularies, and rows with ignored tokens anywhere."""
    scripts = [
        _Script(["<blank>", "a", "b", " ", "\n", "<pad>"], [0, 5]),
        _Script(["\n", "<end>", "B", "A", "-", "<none>"], [1, 5]),
    ]
    rows = [
        [1, 2, 3, 2, 4, 1, 1, 5, 5, 5, 5, 5],
        [2, 0, 3, 3, 0, 4, 2, 1, 1, 5, 3, 2],
        [5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5],
        [3, 4, 1, 0, 2, 3, 4, 4, 3, 5, 5, 5],
    ]
    for script in scripts:
        for row in rows:
            page = torch.zeros(4, 12, dtype=torch.uint8)
            page[0] = torch.tensor(row)
            result = expect_type(attempt(function, script, page), str, "page_text")
            wanted = "".join(script.tokens[i] for i in row if i not in script.ignored)
            told = f"with the tokens {script.tokens}, of which {script.ignored} are ignored"
            left = [script.tokens[i] for i in script.ignored if script.tokens[i] in result]
            expect(
                not left,
                f"{told}, page_text returned {result!r}: {' '.join(left)} should leave no trace.",
            )
            expect(
                result == wanted,
                f"{told}, the ids {row} say {wanted!r}; page_text said {result!r}.",
            )
    return "the text comes from the script's own tokens."
