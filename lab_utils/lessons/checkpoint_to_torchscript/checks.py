"""Checks of notebook 01: what is stored, what inference needs, scripts, parity, and reading."""

import inspect
import math
import tempfile
import textwrap
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from lab_utils.lessons import checking
from lab_utils.lessons.checking import (
    Answer,
    attempt,
    check,
    expect,
    expect_result,
    expect_type,
    fail,
    saying,
    short,
)

go_on = partial(checking.go_on, "checkpoint_to_torchscript")


@check
def stored_bytes(function: Answer) -> str:
    """Storages in nested containers, each counted once and whole."""

    def returns(wanted: int, why: str, value: Any) -> None:
        expect_result(function, (value,), wanted, why)

    for dtype, size in ((torch.float32, 4), (torch.float16, 2), (torch.int64, 8), (torch.bool, 1)):
        value = {"weight": torch.zeros(10, dtype=dtype)}
        returns(10 * size, f"there were 10 numbers of {dtype}, {size} bytes each", value)
    value = {"epoch": 3, "name": "reader", "rate": 1e-4, "none": None, "empty": [], "flag": True}
    returns(0, "there was no tensor in the value", value)
    for plain in (3, "reader", None):
        returns(0, f"the value itself was {plain!r}, which counts as 0 bytes", plain)
    value = {0: {"exp_avg": torch.zeros(4)}, 1: [torch.zeros(2), {"x": [torch.zeros(1)]}]}
    returns(28, "look into dictionaries in dictionaries, and into lists in them", value)
    returns(24, "there were tensors in tuples", (torch.zeros(4), [(torch.zeros(2),)]))
    returns(16, "an OrderedDict is a dictionary as well", OrderedDict(weight=torch.zeros(4)))
    returns(60, "the value itself was a tensor: 15 numbers, 4 bytes each", torch.zeros(3, 5))
    weight = torch.nn.Parameter(torch.zeros(5))
    returns(20, "a torch.nn.Parameter is a tensor as well: see isinstance", [weight])
    shared, once = torch.zeros(100), "tensors share one storage, which is written once"
    value = {"embedding": shared, "head": shared.view(10, 10), "once more": [shared.t()]}
    returns(400, f"three {once}", value)
    returns(400, f"two {once}, at different places", [shared[:50], shared[50:]])
    value = {"last": shared[99:], "first": shared[:1], "steps": shared[::2]}
    returns(400, f"three {once}, at different places", value)
    returns(400, f"two {once}, one of them detached", [shared, shared.detach()])
    why = "the tensor shows 3 numbers of a storage with 1000, and the whole storage is written"
    returns(4000, why, [torch.zeros(1000)[:3]])
    equal = [torch.zeros(8), torch.zeros(8)]
    returns(64, "two equal tensors with separate storages are both written", equal)
    return "storages are found at any depth, and counted once and whole."


@check
def inference_weights(function: Answer) -> str:
    """The right names without their prefix, the right tensors, and nothing else."""
    generator = torch.Generator().manual_seed(1)
    for prefix in ("reader.", "model.reader."):
        own = ["head.weight", "encoder.head.bias", "adder.weight", f"inner.{prefix}weight"]
        average = f"{prefix[:-1]}_average.head.weight"
        strangers = ["cer.0.errors", average, f"teacher.{prefix}head.weight"]
        network = {name: torch.rand(2, 3, generator=generator) for name in own}
        state = {prefix + name: tensor for name, tensor in network.items()}
        state |= {name: torch.rand(2, 3, generator=generator) for name in strangers}
        checkpoint = {"epoch": 1, "state_dict": OrderedDict(state), "optimizer_states": [{}]}
        result = expect_type(attempt(function, checkpoint, prefix), dict, "inference_weights")
        for name, tensor in network.items():
            expect(
                name in result,
                f'"{prefix}{name}" should have become "{name}", and the names are '
                f"{short(list(result), 200)}: look at what is removed from a name, and where.",
            )
            expect(
                isinstance(result[name], Tensor) and torch.equal(result[name], tensor),
                f'"{name}" does not have the value of "{prefix}{name}".',
            )
        more = [str(name) for name in result if name not in network]
        expect(
            not more,
            f"the result has {', '.join(more)}, which aren't the network's: the names "
            f'{", ".join(strangers)} do not begin with "{prefix}".',
        )
    return "only the network's weights are returned, under their own names."


@check
def join_lines(function: Answer) -> str:
    """The same text in Python and as a script, for pages of any number of lines."""
    pages = {
        "a page of two lines": [[5, 6], [7, 8, 9]],
        "a page of one line": [[5, 6]],
        "a page whose middle line is only padding": [[5], [], [6, 7]],
        "a page whose first line is only padding": [[], [5, 6]],
        "a page whose last lines are only padding": [[5, 6], [], []],
        "a page of seven lines": [[n, n + 1] for n in range(1, 8)],
        "a page whose lines are only padding": [[], []],
        "a page without lines": [],
    }
    for name, lines in pages.items():
        for spare in (1, 0):
            _expect_joined(function, f"given {name}", lines, spare, 96, 97)
    scripted = _scripted(function)
    for name, lines in reversed(pages.items()):
        for spare in (1, 0):
            _expect_joined(scripted, f"as a script, given {name}", lines, spare, 96, 97)
    _expect_joined(function, "given a page with other tokens", [[97, 2], [3]], 1, 0, 1)
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
    function: Answer, given: str, lines: list[list[int]], spare: int, newline: int, padding: int
) -> None:
    """Expects the text of lines that are padded to the longest of them and `spare` tokens more."""
    width = max(map(len, lines), default=0) + spare
    page = torch.full((len(lines), width), padding, dtype=torch.long)
    for row, line in zip(page, lines, strict=True):
        row[: len(line)] = torch.tensor(line, dtype=torch.long)
    with saying(f"{given} (N={len(lines)}, T={width})"):
        result = expect_type(attempt(function, page, newline, padding), Tensor, "join_lines")
        expect(
            result.dim() == 1 and result.dtype == torch.long,
            f"join_lines returned {result.dtype} of shape {tuple(result.shape)}, not torch.int64 "
            "of shape (S,): check the dtype of a tensor made from an empty list.",
        )
        wanted: list[int] = []
        for line in lines:
            wanted += [newline] * bool(wanted and line) + line
        expect(
            result.tolist() == wanted,
            f"join_lines returned {result.tolist()}, not {wanted}, with {newline} for the newline "
            f"and {padding} for the padding: drop all padding, leave out a line of only padding, "
            "and put one newline between two lines.",
        )


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

    def with_nan(out: Tensor) -> Tensor:
        out[0, 1, 2] = math.nan
        return out

    def one_frame(out: Tensor) -> Tensor:
        out[0, 1] += 16.0
        return out

    def another_best(out: Tensor) -> Tensor:
        best, second = out[1, 2].topk(2).indices.tolist()
        out[1, 2, [best, second]] = out[1, 2, [second, best]]
        return out

    best, second = original(batches[1])[1, 2].topk(2).values.tolist()
    for name, one, other, same, largest in (
        ("one module compared with itself", original, original, 3, 0.0),
        ("scores that are all 0.25 higher", original, altered(lambda out: out + 0.25), 3, 0.25),
        ("scores that are all 0.25 lower", original, altered(lambda out: out - 0.25), 3, 0.25),
        ("a first batch 0.5 higher", original, altered(lambda out: out + 0.5, 0), 3, 0.5),
        ("another best class", original, altered(another_best, 1), 2, best - second),
        ("one frame, all scores 16 higher", original, altered(one_frame, 1), 3, 16.0),
        ("a NaN in the first batch", original, altered(with_nan, 0), 2, math.inf),
        ("a NaN in the last batch", original, altered(with_nan, 2), 2, math.inf),
        ("a NaN from the original", altered(with_nan, 1), original, 2, math.inf),
        ("a NaN in both outputs", altered(with_nan, 1), altered(with_nan, 1), 2, math.inf),
        ("one frame instead of seven", original, altered(lambda out: out[:, :1], 1), 2, math.inf),
        ("one class instead of five", original, altered(lambda out: out[:, :, :1], 1), 2, math.inf),
        ("frames and classes swapped", original, altered(lambda out: out.mT, 1), 2, math.inf),
        ("double precision", original, altered(lambda out: out.double(), 1), 2, math.inf),
        ("an original that overwrites its input", spoiling, original, 3, 0.0),
        ("a compiled module that overwrites its input", original, spoiling, 3, 0.0),
    ):
        with saying(f"for {name}"):
            copies = [batch.clone() for batch in batches]
            _expect_report(function, one, other, copies, same, largest)
    with saying("for two batches that a generator makes, so that each comes once"):
        copies = (batch.clone() for batch in batches[:2])
        _expect_report(function, original, original, copies, 2, 0.0)
    return "small and large differences, NaNs, shapes and dtypes are reported."


def _expect_report(
    function: Answer,
    one: Callable,
    other: Callable,
    batches: Iterable[Tensor],
    same: int,
    largest: float,
) -> None:
    result = expect_type(attempt(function, one, other, batches), tuple, "parity")
    expect(len(result) == 2, f"parity returned {len(result)} values, not two.")
    found = expect_type(result[0], int, "parity (first value)")
    difference = expect_type(result[1], (float, int), "parity (second value)")
    expect(
        difference == largest or abs(difference - largest) < 1e-5,
        f"parity returned {found} and {difference:.6g}; the largest difference is {largest:.6g}. "
        "(A NaN is not a difference: look for it before you compare.)",
    )
    expect(
        found == same,
        f"parity returned {found} and {difference:.4g}, and {same} batches agree.",
    )


class _Signed(torch.nn.Module):
    """Adds its weight to a positive input, else subtracts it; drops half of it in training."""

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

    own = getattr(function.function, "__globals__", {})  # `load` may be imported by name
    imported = {name: recorded for name, value in own.items() if value is load}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        for number, weight in enumerate((3.0, 5.0)):
            path = Path(folder, f"model {number}.pt")
            module = _Signed(weight).train(number == 0)
            with mock.patch.object(torch.jit, "load", recorded), mock.patch.dict(own, imported):
                loaded = attempt(function, module, path)
            expect_type(loaded, torch.jit.ScriptModule, "compile_and_load")
            try:
                filed = torch.jit.load(path)
            except (OSError, RuntimeError, ValueError):
                fail(
                    f"torch.jit.load finds no script in the file at the path, {path.name!r}: save "
                    "the script there, not a module or its weights."
                )
            with torch.no_grad():
                module.weight += 100  # what was loaded from a file does not follow
            _expect_signed(loaded, weight, "the module that compile_and_load returned")
            _expect_signed(filed, weight, "the file, loaded once more,")
    expect(
        None not in places,
        "a file that was saved on a machine with a GPU would not load here: tell torch.jit.load "
        "where to put its tensors (map_location).",
    )
    return "the script is in the file, for inference, and the file was loaded."


def _expect_signed(script: Any, weight: float, what: str) -> None:
    expect(
        not any(getattr(one, "training", False) for one in script.modules()),
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
            f"{what} gives wrong numbers if its input is {'positive' if sign > 0 else 'negative'}: "
            "return what torch.jit.load makes of the file, and script the module, since a trace "
            "has no branches.",
        )


class _Script(torch.nn.Module):
    """Has the interface of a loaded script: the first row of the page holds the ids of its text."""

    def __init__(self, tokens: list[str], ignored: list[int]) -> None:
        super().__init__()
        self.tokens, self.ignored = tokens, ignored

    def forward(self, pages: Tensor) -> Tensor:
        given = f"{getattr(pages, 'dtype', '')} {tuple(getattr(pages, 'shape', ()))}"
        expect(
            given == "torch.uint8 (1, 1, 4, 12)",
            f"page_text gave the script {given} for a page of 4 x 12 px; it takes torch.uint8 of "
            "shape (B, 1, H, W).",
        )
        return pages[:, 0, 0].long()


@check
def page_text(function: Answer) -> str:
    """Two scripts with different vocabularies, and rows with ignored tokens anywhere."""
    rows = [
        [1, 2, 3, 2, 4, 1, 1, 5, 5, 5, 5, 5],
        [2, 0, 3, 3, 0, 4, 2, 1, 1, 5, 3, 2],
        [5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5],
        [3, 4, 1, 0, 2, 3, 4, 4, 3, 5, 5, 5],
    ]
    for tokens, ignored in (
        (["<blank>", "a", "b", " ", "\n", "<pad>"], [0, 5]),
        (["\n", "~", "B", "A", "<", "<none>"], [1, 5]),
    ):
        for row in rows:
            page = torch.zeros(4, 12, dtype=torch.uint8)
            page[0] = torch.tensor(row)
            wanted = "".join(tokens[i] for i in row if i not in ignored)
            given = f"with the tokens {tokens}, of which {ignored} are ignored"
            why = f"the script gave the ids {row}, and ignored tokens leave no trace"
            expect_result(function, (_Script(tokens, ignored), page), wanted, why, given)
    _expect_same_by_itself(function, _Script(tokens, ignored), page, wanted)
    return "the text comes from the script's own tokens."


def _expect_same_by_itself(function: Answer, script: _Script, page: Tensor, wanted: str) -> None:
    """The function reads in a program that has only its source and torch."""
    try:
        source = textwrap.dedent(inspect.getsource(function.function))
    except (OSError, TypeError):
        return

    def by_itself(script: Any, page: Tensor) -> Any:
        names: dict[str, Any] = {"torch": torch, "Tensor": Tensor}
        exec(source, names)
        return names[function.name](script, page)

    given = "in a program that has only this function and torch (so import the rest inside it)"
    same = "the text is the same there"
    expect_result(Answer(by_itself, function.name), (script, page), wanted, same, given)
