"""Typical mistakes in the exercises of notebook 01, and what the check must say about each.

Most are parts of the official solution, and what takes the place of each; the others are code.
"""

WRONG_ANSWERS: dict[str, list[tuple[str, ...]]] = {
    "stored_bytes": [
        (
            "storages[storage.data_ptr()] = storage.nbytes()",
            "storages[len(storages)] = part.numel() * 4",
            "returned 40, not 20: .* torch.float16, 2 bytes each",
        ),
        ("list | tuple", "list", "tensors in tuples"),
        (
            "storages[storage.data_ptr()] = storage.nbytes()",
            "storages[len(storages)] = part.nbytes",
            "returned 1200, not 400: three tensors share one storage",
        ),
        (
            "storages[storage.data_ptr()] = storage.nbytes()",
            "storages[part.data_ptr()] = part.nbytes",
            "returned 8, not 400: three tensors share",
        ),
        (
            "storages[storage.data_ptr()]",
            "storages[part.data_ptr()]",
            "returned 800, not 400: two tensors share one storage, .* at different places",
        ),
        (
            "waiting = [value]",
            "waiting = value if isinstance(value, list) else [value]",
            "changed what it was given",
        ),
        ("isinstance(part, torch.Tensor)", "type(part) is torch.Tensor", "Parameter"),
        (
            "def stored_bytes(value):\n    return sum(tensor.nbytes for tensor in value.values())",
            "stopped with AttributeError: 'int' object has no attribute 'nbytes'",
        ),
    ],
    "inference_weights": [
        ("name.removeprefix(prefix):", "name:", "should have become"),
        (
            "removeprefix(prefix)",
            "lstrip(prefix)",
            "encoder.head.bias. should have become .*'ncoder.head.bias'",
        ),
        (
            "removeprefix(prefix)",
            'replace(prefix, "")',
            "should have become .*inner.reader.weight.*'inner.weight'",
        ),
        ("        if name.startswith(prefix)\n", "", "do not begin with"),
        (
            """
def inference_weights(checkpoint, prefix):
    state = checkpoint["state_dict"]
    for name in list(state):
        value = state.pop(name)
        if name.startswith(prefix):
            state[name.removeprefix(prefix)] = value
    return state
""",
            "changed what it was given",
        ),
    ],
    "join_lines": [
        (
            "tokens: list[int] = row",
            "tokens = row",
            r"torch.jit.script refuses join_lines, at `tokens = .*type hint for result of tolist",
        ),
        ("if len(tokens) > 0:", "if True:", "leave out a line of only padding"),
        ("text[1:]", "text", "one newline between two lines"),
        (", dtype=torch.long", "", "torch.float32 of shape .* not torch.int64"),
        ("row[row != padding]", "row", "drop all padding"),
    ],
    "parity": [
        (
            "(one - other).abs().max()",
            "(one - other).max()",
            "all 0.25 higher, parity returned 3 and 0; .* is 0.25",
        ),
        (
            "max(largest, float((one - other).abs().max()))",
            "float((one - other).abs().max())",
            "a first batch 0.5 higher, parity returned 3 and 0; .* is 0.5",
        ),
        (
            " or bool(one.isnan().any() or other.isnan().any())",
            "",
            "a NaN in the first batch, parity returned 2 and 0; the largest difference is inf",
        ),
        ("one.isnan().any() or ", "", "a NaN from the original"),
        (" and one.dtype == other.dtype", "", "double precision, parity returned 3 and 0"),
        (
            "original(batch.clone()), compiled(batch.clone())",
            "original(batch), compiled(batch)",
            "an original that overwrites its input, parity changed what it was given",
        ),
        (
            "torch.equal(one.argmax(2), other.argmax(2))",
            "torch.equal(one, other.argmax(2))",
            "compared with itself, parity returned 0 and 0; 3 of 3 batches agree",
        ),
        (".argmax(2), other.argmax(2)", ".argmax(1), other.argmax(1)", "16 higher"),
    ],
    "compile_and_load": [
        ("module.eval()", "module", "is in training mode"),
        (
            "script(module.eval())",
            "script(module)",
            'map_location="cpu")',
            'map_location="cpu").eval()',
            "the file, loaded once more, is in training mode",
        ),
        (
            "torch.jit.script(module.eval())",
            "torch.jit.trace(module.eval(), torch.ones(64))",
            "has lost the list of tokens",
        ),
        (
            'return torch.jit.load(path, map_location="cpu")',
            "return torch.jit.script(module)",
            "return what torch.jit.load makes of the file",
        ),
        (
            "torch.jit.script(module.eval()).save(path)",
            "torch.save(module.eval(), path); return torch.jit.script(module)",
            "torch.jit.load finds no script in the file",
        ),
        (
            "torch.jit.script(module.eval()).save(path)",
            "return torch.jit.script(module.eval())",
            "torch.jit.load finds no script in the file",
        ),
        (', map_location="cpu"', "", "map_location"),
    ],
    "page_text": [
        (
            "script(page[None, None])",
            "script(page)",
            r"gave the script torch.uint8 \(4, 12\) for a page.* of shape \(B, 1, H, W\)",
        ),
        (" if token not in script.ignored", "", "ignored tokens leave no trace"),
        (
            "page[None, None]",
            "page[None, None].float() / 255",
            "gave the script torch.float32 .*; it takes torch.uint8",
        ),
        ("not in script.ignored", "not in (0, 5)", "ignored tokens leave no trace"),
        ("script.ignored)", "script.ignored).strip()", "ignored tokens leave no trace"),
        (
            """
from text_recognizer.vocabulary import decode

def page_text(script, page):
    return decode(script(page[None, None])[0].tolist())
""",
            "with the tokens .* page_text returned .*, not 'ab b",
        ),
    ],
}
