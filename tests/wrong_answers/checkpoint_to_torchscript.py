"""Typical mistakes in the exercises of notebook 01, and what the check must say about each."""

from answering import filled

STORED_BYTES = """
import torch

def stored_bytes(value):
    {body}
"""

INFERENCE_WEIGHTS = """
def inference_weights(checkpoint, prefix):
    {body}
"""

JOIN_LINES = """
import torch
from torch import Tensor

def join_lines(lines: Tensor, newline: int, padding: int) -> Tensor:
    {body}
"""

PARITY = """
import math

import torch

def parity(original, compiled, batches):
    same, largest = 0, 0.0
    for batch in batches:
        {outputs}
        {body}
    return same, largest
"""
COPIES = "one, other = original(batch.clone()), compiled(batch.clone())"
LOOK = """if one.shape != other.shape or one.dtype != other.dtype or {nan}:
            largest = math.inf
            continue"""
NAN = "one.isnan().any() or other.isnan().any()"
COMPARE = """same += torch.equal(one.argmax(2), other.argmax(2))
        largest = max(largest, float((one - other).abs().max()))"""

PAGE_TEXT = """
import torch

def page_text(script, page):
    {body}
"""

COMPILE_AND_LOAD = """
import torch

def compile_and_load(module, path):
    {body}
"""

WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "stored_bytes": [
        *filled(
            STORED_BYTES,
            (
                "return sum(tensor.nbytes for tensor in value.values())",
                "stopped with AttributeError: 'int' object has no attribute 'nbytes'",
            ),
            (
                """if isinstance(value, torch.Tensor):
        return value.numel() * 4
    if isinstance(value, dict):
        return sum(map(stored_bytes, value.values()))
    return 0""",
                r"returned 40, not 20: .* torch.float16, 2 bytes each",
            ),
            (
                """if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(stored_bytes, value.values()))
    if isinstance(value, list):
        return sum(map(stored_bytes, value))
    return 0""",
                "tensors in tuples",
            ),
            (
                """if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return sum(map(stored_bytes, value))
    return 0""",
                "returned 1200, not 400: three tensors share one storage",
            ),
            (
                """found = {}
    def visit(part):
        if isinstance(part, torch.Tensor):
            found[part.data_ptr()] = part.nbytes
        elif isinstance(part, dict):
            [visit(one) for one in part.values()]
        elif isinstance(part, (list, tuple)):
            [visit(one) for one in part]
    visit(value)
    return sum(found.values())""",
                "returned 204, not 400: three tensors share",
            ),
        ),
        (
            """
import torch

def stored_bytes(value):
    found = {}
    def walk(part):
        if isinstance(part, torch.Tensor):
            found[part.data_ptr()] = part.untyped_storage().nbytes()
        elif isinstance(part, dict):
            [walk(one) for one in part.values()]
        elif isinstance(part, (list, tuple)):
            [walk(one) for one in part]
    walk(value)
    return sum(found.values())
""",
            "returned 800, not 400: two tensors share one storage, at different places",
        ),
    ],
    "inference_weights": filled(
        INFERENCE_WEIGHTS,
        (
            """return {
        name: value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(prefix)
    }""",
            "still has its prefix",
        ),
        (
            """return {
        name.lstrip(prefix): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(prefix)
    }""",
            '"reader.encoder.head.bias" should have become .* but there is "ncoder.head.bias"',
        ),
        (
            """return {
        name.replace(prefix, ""): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(prefix)
    }""",
            'should have become "inner.reader.weight", but there is "inner.weight"',
        ),
        (
            """return {
        name.removeprefix(prefix): value for name, value in checkpoint["state_dict"].items()
    }""",
            "do not begin with",
        ),
        (
            """state = checkpoint["state_dict"]
    for name in list(state):
        if name.startswith(prefix):
            state[name.removeprefix(prefix)] = state.pop(name)
        else:
            del state[name]
    return state""",
            "changed what it was given",
        ),
    ),
    "join_lines": filled(
        JOIN_LINES,
        (
            """text = []
    for row in lines:
        tokens = row[row != padding].tolist()
        if tokens:
            text += [newline, *tokens]
    return torch.tensor(text[1:], dtype=torch.long)""",
            r"torch.jit.script refuses join_lines, at `tokens = .*type hint for result of tolist",
        ),
        (
            """text: list[int] = []
    for row in lines:
        tokens: list[int] = row[row != padding].tolist()
        text.append(newline)
        text.extend(tokens)
    return torch.tensor(text[1:], dtype=torch.long)""",
            "two newlines in a row",
        ),
        (
            """text: list[int] = []
    for row in lines:
        tokens: list[int] = row[row != padding].tolist()
        if len(tokens) > 0:
            text.extend(tokens)
            text.append(newline)
    return torch.tensor(text, dtype=torch.long)""",
            "has a newline at an end",
        ),
        (
            """text: list[int] = []
    for row in lines:
        tokens: list[int] = row[row != padding].tolist()
        if len(tokens) > 0:
            text.append(newline)
            text.extend(tokens)
    return torch.tensor(text[1:])""",
            "torch.float32, not torch.int64",
        ),
        (
            """parts: list[Tensor] = []
    for row in lines:
        if len(parts) > 0:
            parts.append(torch.full([1], newline))
        parts.append(row)
    return torch.cat(parts)""",
            "still has padding",
        ),
    ),
    "parity": [
        (
            PARITY.format(outputs=COPIES, body=COMPARE.replace(".abs()", "")),
            r"scores that are all 0.25 higher, parity returned 3 and 0; .* is 0.25",
        ),
        (
            PARITY.format(outputs=COPIES, body=COMPARE.replace("max(largest, ", "float(")),
            r"differ only in the first batch, by 0.5, parity returned 3 and 0; .* is 0.5",
        ),
        (
            PARITY.format(outputs=COPIES, body=COMPARE),
            "a NaN in the first batch, parity returned 2 and 0; the largest difference is inf",
        ),
        (
            PARITY.format(
                outputs=COPIES, body=LOOK.format(nan="other.isnan().any()") + "\n        " + COMPARE
            ),
            "a NaN from the original",
        ),
        (
            PARITY.format(
                outputs=COPIES,
                body=LOOK.format(nan=NAN).replace(" or one.dtype != other.dtype", "")
                + "\n        "
                + COMPARE,
            ),
            "an output in double precision in one batch, parity returned 3 and 0",
        ),
        (
            PARITY.format(
                outputs="one, other = original(batch), compiled(batch)",
                body=LOOK.format(nan=NAN) + "\n        " + COMPARE,
            ),
            "an original that overwrites its input, parity changed what it was given",
        ),
        (
            PARITY.format(
                outputs=COPIES, body=COMPARE.replace("torch.equal(one.argmax(2)", "torch.equal(one")
            ),
            "compared with itself, parity returned 0 and 0; 3 of 3 batches agree",
        ),
    ],
    "compile_and_load": filled(
        COMPILE_AND_LOAD,
        (
            """script = torch.jit.script(module)
    script.save(path)
    return torch.jit.load(path)""",
            "is in training mode",
        ),
        (
            """torch.jit.script(module).save(path)
    return torch.jit.load(path).eval()""",
            "the file, loaded once more, is in training mode",
        ),
        (
            """script = torch.jit.trace(module.eval(), torch.ones(64))
    script.save(path)
    return torch.jit.load(path)""",
            "has lost the list of tokens",
        ),
        (
            """script = torch.jit.script(module.eval())
    script.save(path)
    return script""",
            "return what torch.jit.load makes of the file",
        ),
        (
            """torch.save(module.eval(), path)
    return torch.jit.script(module)""",
            "torch.jit.load refuses the file",
        ),
        ("return torch.jit.script(module.eval())", "there is no file at the path"),
    ),
    "page_text": [
        *filled(
            PAGE_TEXT,
            (
                'return "".join(script.tokens[i] for i in script(page)[0])',
                r"gave the script \(4, 12\); it takes pages of shape \(B, 1, H, W\)",
            ),
            (
                """ids = script(page[None, None])[0].tolist()
    return "".join(script.tokens[i] for i in ids)""",
                "<blank> <pad> should leave no trace|<pad> should leave no trace",
            ),
        ),
        (
            """
from text_recognizer.vocabulary import decode

def page_text(script, page):
    return decode(script(page[None, None])[0].tolist())
""",
            "with the tokens .*, the ids .* say 'ab b",
        ),
        *filled(
            PAGE_TEXT,
            (
                """ids = script(page[None, None].float() / 255)[0].tolist()
    return "".join(script.tokens[i] for i in ids if i not in script.ignored)""",
                "a page of torch.float32; it takes torch.uint8",
            ),
            (
                """ids = script(page[None, None])[0].tolist()
    return "".join(script.tokens[i] for i in ids if i not in (0, 5))""",
                "<end> should leave no trace",
            ),
        ),
    ],
}
