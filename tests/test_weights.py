"""Weights files: what is saved comes back, and what is no such file is told in a sentence."""

import pytest
import torch
from safetensors.torch import save_file

from text_recognizer.errors import ModelFileError
from text_recognizer.models.line_finder import LineFinder
from text_recognizer.weights import load_weights, save_weights


def finder(seed: int) -> LineFinder:
    torch.manual_seed(seed)
    return LineFinder().eval()


def test_weights_come_back_in_half_precision(tmp_path):
    saved, other = finder(1), finder(2)
    path = save_weights(saved.state_dict(), tmp_path / "new" / "line_finder.safetensors")
    exact = sum(value.numel() for value in saved.state_dict().values()) * 4
    assert path.stat().st_size < 0.56 * exact + 20_000
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing else is left"
    load_weights(other, path)
    for name, value in other.state_dict().items():
        before = saved.state_dict()[name]
        assert value.dtype == before.dtype
        torch.testing.assert_close(value, before, atol=1e-7, rtol=1e-3)


@pytest.mark.parametrize("content", [None, b"", b"no weights at all", "cut short"])
def test_a_file_that_is_missing_or_damaged_is_refused(tmp_path, content):
    path = tmp_path / "line_finder.safetensors"
    if content == "cut short":
        save_weights(finder(1).state_dict(), path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"{path.name}.*again"):
        load_weights(finder(1), path)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "line_finder.safetensors"
    save_file({"head.weight": torch.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="belong to another network"):
        load_weights(finder(1), path)
