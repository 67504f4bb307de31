"""Typical mistakes in the exercises of notebook 01, and what the check must say about each.

Most are parts of the official solution, and what takes the place of each; the others are code.
"""

STORED = "storages[storage.data_ptr()] = storage.nbytes()"
FURTHEST = "(one - other).abs().max()"
SAVED = "torch.jit.script(module.eval()).save(path)"
LOADED = 'return torch.jit.load(path, map_location="cpu")'
SHAPE = "page[None, None]"

WRONG_ANSWERS: dict[str, list[tuple[str, ...]]] = {
    "stored_bytes": [
        (STORED, "storages[len(storages)] = part.numel() * 4", "returned 40, not 20: .*float16"),
        ("list | tuple", "list", "tensors in tuples"),
        (STORED, "storages[len(storages)] = part.nbytes", "returned 1200, not 400"),
        (
            "storages[storage.data_ptr()]",
            "storages[part.data_ptr()]",
            "800, not 400: .* different places",
        ),
        ("isinstance(part, torch.Tensor)", "type(part) is torch.Tensor", "Parameter"),
        (
            "storages: dict[int, int] = {}",
            "storages: dict[int, int] = {}\n    if isinstance(value, int):\n        return None",
            "returned None",
        ),
    ],
    "inference_weights": [
        ("removeprefix(prefix)", "lstrip(prefix)", "become .*'ncoder.head.bias'"),
        ("removeprefix(prefix)", 'replace(prefix, "")', "become .*'inner.weight'"),
        ("        if name.startswith(prefix)\n", "", "do not begin with"),
    ],
    "join_lines": [
        ("tokens: list[int] = row", "tokens = row", "refuses join_lines, at `tokens = .*type hint"),
        ("if len(tokens) > 0:", "if True:", "leave out a line of only padding"),
        ("text[1:]", "text", "one newline between two lines"),
        (", dtype=torch.long", "", "torch.float32 of shape .* not torch.int64"),
        ("row[row != padding]", "row", "drop all padding"),
        (
            "row[row != padding].tolist()",
            "row[: int((row == padding).int().argmax())].tolist()",
            r"two lines \(N=2, T=3\), join_lines returned \[5, 6\], not",
        ),
        (
            "row[row != padding].tolist()",
            "[] if int(row[0]) == padding else row[row != padding].tolist()",
            r"\(N=2, T=0\), join_lines stopped with IndexError",
        ),
    ],
    "parity": [
        (FURTHEST, "(one - other).max()", "all 0.25 higher"),
        (
            "max(largest, float((one - other).abs().max()))",
            "float((one - other).abs().max())",
            "a first batch 0.5 higher",
        ),
        (" or bool(one.isnan().any() or other.isnan().any())", "", "a NaN in the first batch"),
        (" and one.dtype == other.dtype", "", "double precision, parity returned 3 and 0"),
        (
            "original(batch.clone()), compiled(batch.clone())",
            "original(batch), compiled(batch)",
            "changed what it was given",
        ),
        (".argmax(2), other.argmax(2)", ".argmax(1), other.argmax(1)", "16 higher"),
        ("one.shape == other.shape", "one.shape[:2] == other.shape[:2]", "one class instead"),
        (
            "for batch in batches:",
            "for batch in (batches[i] for i in range(len(batches))):",
            "gener",
        ),
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
        (LOADED, "return torch.jit.script(module)", "what torch.jit.load makes"),
        (
            SAVED,
            "torch.save(module.eval(), path); return torch.jit.script(module)",
            "torch.jit.load finds no script in the file",
        ),
        (', map_location="cpu"', "", "map_location"),
        (
            """
from torch.jit import load

def compile_and_load(module, path):
    torch.jit.script(module.eval()).save(path)
    return load(path)
""",
            "map_location",
        ),
    ],
    "page_text": [
        ("script(page[None, None])", "script(page)", r"of shape \(B, 1, H, W\)"),
        (" if token not in script.ignored", "", "ignored tokens leave no trace"),
        (SHAPE, "page[None, None].float() / 255", "it takes torch.uint8"),
        ("token not in script.ignored", "script.tokens[token][0] != '<'", "leave no trace"),
        (
            """
import itertools

def page_text(script, page):
    row = script(page[None, None])[0].tolist()
    kept = itertools.filterfalse(script.ignored.__contains__, row)
    return "".join(map(script.tokens.__getitem__, kept))
""",
            "import the rest inside it.*itertools",
        ),
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
