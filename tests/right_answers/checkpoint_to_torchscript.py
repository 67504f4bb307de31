"""Right answers to the exercises of notebook 01 in other styles than the official one."""

RIGHT_ANSWERS: dict[str, list[str]] = {
    "stored_bytes": [
        """
def storages(value):
    if isinstance(value, torch.Tensor):
        return {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()}
    parts = list(value.values()) if isinstance(value, dict) else value
    parts = parts if isinstance(parts, (list, tuple)) else ()
    return {at: size for part in parts for at, size in storages(part).items()}

def stored_bytes(value):
    return sum(storages(value).values())
""",
        """
import numpy as np

def stored_bytes(value):
    seen, parts = {}, [value]
    while parts:
        match parts.pop():
            case torch.Tensor() as tensor:
                seen[tensor.storage().data_ptr()] = len(tensor.untyped_storage())
            case dict() as inner:
                parts.extend(inner.values())
            case list() | tuple() as inner:
                parts.extend(inner)
    return np.sum(list(seen.values()), dtype=np.int64)
""",
        """
def stored_bytes(value):
    known = set()
    def size(part):
        if torch.is_tensor(part):
            storage = part.untyped_storage()
            if storage.data_ptr() in known:
                return 0
            known.add(storage.data_ptr())
            return storage.nbytes()
        if isinstance(part, dict):
            return sum(map(size, part.values()))
        return sum(map(size, part)) if isinstance(part, (list, tuple)) else 0
    return torch.tensor(size(value))
""",
    ],
    "inference_weights": [
        """
def inference_weights(checkpoint, prefix):
    found = {}
    for name in checkpoint["state_dict"]:
        if name[: len(prefix)] == prefix:
            found[name[len(prefix) :]] = checkpoint["state_dict"][name].clone()
    return found
""",
        """
from collections import OrderedDict

def inference_weights(checkpoint, prefix):
    pairs = ((name.partition(prefix), value) for name, value in checkpoint["state_dict"].items())
    return OrderedDict((rest, value) for (x, mark, rest), value in pairs if mark and not x)
""",
        """
import re

def inference_weights(checkpoint, prefix):
    start = re.compile(re.escape(prefix))
    state = checkpoint["state_dict"]
    return {start.sub("", n, count=1): state[n] for n in filter(start.match, state)}
""",
    ],
    "join_lines": [
        """
def join_lines(lines: Tensor, newline: int, padding: int) -> Tensor:
    text = torch.zeros(0, dtype=torch.long)
    for row in lines:
        tokens = row[row != padding]
        if tokens.numel() > 0:
            if text.numel() > 0:
                text = torch.cat([text, torch.tensor([newline])])
            text = torch.cat([text, tokens])
    return text
""",
        """
def join_lines(lines: Tensor, newline: int, padding: int) -> Tensor:
    count, width = lines.shape[0], lines.shape[1]
    full = torch.full((count, width + 1), newline, dtype=torch.long)
    full[:, 1:] = lines
    keep = full != padding
    keep[:, 0] = (lines != padding).any(dim=1)
    return full[keep][1:]
""",
        """
def join_lines(lines: Tensor, newline: int, padding: int) -> Tensor:
    pieces: list[int] = []
    for row in lines:
        kept = row[torch.nonzero(row != padding).flatten()]
        if len(kept) > 0 and len(pieces) > 0:
            pieces.append(newline)
        for token in kept:
            pieces.append(int(token))
    return torch.tensor(pieces, dtype=torch.int64)
""",
    ],
    "parity": [
        """
import math

def parity(original, compiled, batches):
    def difference(batch):
        a, b = original(batch.clone()), compiled(batch.clone())
        if a.shape != b.shape or a.dtype != b.dtype or (a != a).any() or (b != b).any():
            return 0, math.inf
        return int((a.argmax(-1) == b.argmax(-1)).all()), (a - b).abs().max()
    results = [difference(batch) for batch in batches]
    return sum(one for one, _ in results), max(far for _, far in results)
""",
        """
import numpy as np

def parity(original, compiled, batches):
    same, largest = np.int64(0), np.float64(0)
    for batch in batches:
        one, other = [f(batch.detach().clone()).numpy() for f in (original, compiled)]
        if one.shape != other.shape or one.dtype != other.dtype or np.isnan([one, other]).any():
            largest = np.inf
        else:
            same = same + np.array_equal(one.argmax(2), other.argmax(2))
            largest = max(largest, np.abs(one - other).max())
    return [same, largest]
""",
        """
import copy

def parity(original, compiled, batches):
    same, largest = 0, 0.0
    for batch in batches:
        one, other = original(copy.deepcopy(batch)), compiled(copy.deepcopy(batch))
        try:
            torch.testing.assert_close(one, other, rtol=0, atol=float("inf"), equal_nan=False)
        except AssertionError:
            largest = float("inf")
            continue
        same += bool(torch.all(one.argmax(2) == other.argmax(2)))
        largest = max(largest, torch.dist(one, other, float("inf")).item())
    return same, largest
""",
    ],
    "compile_and_load": [
        """
def compile_and_load(module, path):
    module.eval()
    script = torch.jit.script(module)
    torch.jit.save(script, str(path))
    with open(path, "rb") as file:
        return torch.jit.load(file, map_location=torch.device("cpu"))
""",
        """
import copy

def compile_and_load(module, path):
    torch.jit.script(copy.deepcopy(module).train(False)).save(path)
    return torch.jit.load(path, "cpu")
""",
        """
import io

def compile_and_load(module, path):
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(module.eval()), stream)
    path.write_bytes(stream.getvalue())
    return torch.jit.load(io.BytesIO(path.read_bytes()), map_location="cpu").eval()
""",
    ],
    "page_text": [
        """
def page_text(script, page):
    script.eval()
    ids = script.forward(page.unsqueeze(0).unsqueeze(0)).squeeze(0)
    text = ""
    for number in ids:
        if int(number) not in set(script.ignored):
            text += script.tokens[number]
    return text
""",
        """
def page_text(script, page):
    import itertools

    (row,) = script(page.reshape(1, 1, *page.shape)).tolist()
    kept = itertools.filterfalse(script.ignored.__contains__, row)
    return "".join(map(script.tokens.__getitem__, kept))
""",
        """
def page_text(script, page):
    import numpy as np

    with torch.no_grad():
        ids = script(page.view(1, 1, page.size(0), page.size(1))).numpy()[0]
    return "".join(np.array(script.tokens)[ids[~np.isin(ids, script.ignored)]])
""",
    ],
}
