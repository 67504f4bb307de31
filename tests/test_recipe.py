"""Recipes: what is understood and what is refused, and a training that was killed on its way."""

import json
import os
import signal
import subprocess

import pytest
import torch
from conftest import lab_process, until
from safetensors.torch import load_file

from text_recognizer.places import project_folder
from text_recognizer.train import pages_data
from text_recognizer.train.follow_recipe import follow
from text_recognizer.train.recipe import RecipeError, read_recipe
from text_recognizer.weights import load_paragraph_reader

TINY = """
seed = 3
start = { reader = "packaged", finder = "packaged" }
[[reader]]
steps = 4
batch = 1
validate-every = 2
validation-batches = 1
mix = { font = 1 }
[[finder]]
steps = 1
batch = 1
validate-every = 1
validation-batches = 1
mix = { font = 1 }
[evaluation]
groups = []
"""


@pytest.fixture
def recipe_file(tmp_path):
    def write(text: str):
        file = tmp_path / "recipe.toml"
        file.write_text(text)
        return file

    return write


def test_the_recipe_of_the_packaged_weights_is_understood():
    recipe = read_recipe(project_folder() / "data" / "weights" / "recipe.toml")
    assert {stage.network for stage in recipe.stages} == {"reader", "finder"}
    assert len({stage.settings.seed for stage in recipe.stages}) == len(recipe.stages)
    assert all(stage.settings.steps >= 1000 for stage in recipe.stages)
    assert set(recipe.evaluation.groups) == {"unipen", "copiste", "font"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[reader", "recipe.toml is not TOML: "),
        ("seed = 1", "it has no stage"),
        ("[[reader]]\nbatch = 3", "reader 1 steps: Field required"),
        ("[[reader]]\nsteps = 3\nrate = 1", "reader 1 rate: Extra inputs are not permitted"),
        ("[[reader]]\nsteps = 250", r"reader-1: steps \(250\) is not a multiple of .* \(100\)"),
        ("[[reader]]\nsteps = 2\nmix = { typed = 1 }", "should be 'font', 'pen' or 'scan'"),
    ],
)
def test_what_is_not_understood_is_one_line(recipe_file, text, message):
    with pytest.raises(RecipeError, match=message) as error:
        read_recipe(recipe_file(text))
    assert "\n" not in str(error.value)


def test_a_missing_recipe_and_options_of_the_short_training_are_refused(lab, recipe_file, tmp_path):
    code, _, err = lab("train", "--recipe", tmp_path / "no.toml")
    assert code == 2 and "There is no recipe" in err
    code, _, err = lab("train", "--recipe", recipe_file(TINY), "--steps", "4")
    assert code == 2 and "--steps does not go with it" in err
    code, _, err = lab("train", "--out", tmp_path)
    assert code == 2 and "goes with --recipe only" in err


@pytest.mark.nightly
def test_a_training_that_was_killed_goes_on(recipe_file, tmp_path, fonts, monkeypatch):
    monkeypatch.setattr(pages_data, "OVERVIEW_HEIGHTS", (8.0, 12.0))  # small pages
    file, out = recipe_file(TINY), tmp_path / "run"
    checkpoint = out / "reader-1" / "last.ckpt"
    command = ("train", "--recipe", file, "--out", out)
    with lab_process(*command, stderr=subprocess.STDOUT, start_new_session=True) as process:
        until(lambda: checkpoint.exists() or process.poll() is not None, 120)
        os.killpg(process.pid, signal.SIGKILL)
        assert checkpoint.exists(), process.stdout.read()
    assert not (out / "reader-1" / "done.json").exists(), "it was not killed on its way"
    step = torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"]

    recipe, said = read_recipe(file), []
    result = follow(recipe, out, say=said.append)
    assert "reader-1: goes on" in said
    assert any(line.startswith(f"reader-1: step {step + 2} of 4, cer 0.") for line in said)
    assert result["scores"].keys() == {"reader-1", "finder-1"}
    assert json.loads((out / "result.json").read_text()) == result
    load_paragraph_reader(out / "weights")
    kept = load_file(out / "weights" / "line_reader.safetensors")
    assert {str(weight.dtype) for weight in kept.values()} == {"torch.float16"}

    # Nothing is done twice, and another recipe is not mixed with this one.
    said.clear()
    assert follow(recipe, out, say=said.append) == result
    assert [line for line in said if "done before" in line] == [
        f"{name}: was done before, {score} {result['scores'][name]:.4f}"
        for name, score in (("reader-1", "cer"), ("finder-1", "lines_wrong"))
    ]
    changed = read_recipe(recipe_file(TINY.replace("batch = 1", "batch = 3")))
    with pytest.raises(RecipeError, match=r"another recipe \(batch changed\)"):
        follow(changed, out, say=said.append)
