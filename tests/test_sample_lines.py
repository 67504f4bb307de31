"""Lines cut from the sample pages, and the short training on them."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate.labels import load_items
from text_recognizer.models.line_reader import LineReader
from text_recognizer.places import SAMPLE_PAGES
from text_recognizer.train.fine_tune import train_briefly
from text_recognizer.train.sample_lines import (
    cut_lines,
    page_tensor,
    sample_lines,
)
from text_recognizer.vocabulary import decode
from text_recognizer.weights import packaged_weights


@pytest.fixture(scope="module")
def item():
    return load_items(SAMPLE_PAGES, split="train", limit=1)[0]


def test_the_lines_of_a_page_come_with_their_texts(eager, item):
    with torch.inference_mode():
        lines = cut_lines(eager, page_tensor(item.path), item.text)
    assert [decode(line.target) for line in lines] == item.text.split("\n")
    for line in lines:
        assert line.strip.shape == (1, 48, line.width) and line.width % 8 == 0
        assert line.strip.min() < 0 < line.strip.max() <= 1, "ink on paper"


def test_a_page_with_another_number_of_lines_than_its_label_is_left_out(eager, item):
    page = page_tensor(item.path)
    with torch.inference_mode():
        assert cut_lines(eager, page, item.text + "\nand one more") == []
        assert cut_lines(eager, torch.full_like(page, 255), item.text) == []


def test_a_folder_without_a_usable_line_is_reported(tmp_path):
    Image.new("L", (300, 100), 255).save(tmp_path / "blank.png")
    labels = {"items": [{"file": "blank.png", "text": "a line", "split": "train"}]}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(RecognizerError, match="No line of .* fits its label"):
        sample_lines(tmp_path, "train")


@pytest.mark.slow
def test_a_brief_training_leaves_a_whole_lightning_checkpoint(tmp_path, capfd):
    options = {"steps": 2, "pages": 1, "lines": 2}
    one = train_briefly(tmp_path / "new" / "one.ckpt", **options)
    assert capfd.readouterr() == ("", "")
    checkpoint = torch.load(one, weights_only=True)
    assert checkpoint["global_step"] == 2
    assert {"loops", "callbacks", "hyper_parameters", "lr_schedulers"} <= checkpoint.keys()
    state = {k.removeprefix("reader."): v for k, v in checkpoint["state_dict"].items()}
    LineReader().load_state_dict(state)
    moments = checkpoint["optimizer_states"][0]["state"]
    assert len(moments) == len(list(LineReader().parameters()))
    assert all(moment["step"] == 2 for moment in moments.values())
    packaged = load_file(packaged_weights() / "line_reader.safetensors")
    assert any(not torch.equal(state[name], packaged[name].float()) for name in packaged)

    again = train_briefly(tmp_path / "again.ckpt", **options)
    assert again.read_bytes() == one.read_bytes()
