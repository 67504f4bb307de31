"""`lab publish` sets the address and the tag everywhere; a release has its tag."""

import os
import shutil
from pathlib import Path

import pytest
from conftest import ran

from lab_authoring.publish import WRITTEN_IN, publish
from lab_utils.setup import project
from text_recognizer.errors import RecognizerError

ROOT = Path(__file__).resolve().parents[1]
NEW = "https://github.com/ada/some-other-lab"


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of the files that repeat the address."""
    for path in (path for pattern in WRITTEN_IN for path in ROOT.glob(pattern)):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def texts(folder: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_address_and_the_tag_are_set_everywhere_and_back(checkout):
    before, name = texts(checkout), project.address().removeprefix("https://github.com/")
    assert publish(f"{NEW}.git", "v12.0.3", checkout) == sorted(before)
    for path, text in texts(checkout).items():
        assert name not in text and project.tag() not in text
        if path.suffix == ".ipynb":
            assert f"ada/some-other-lab/blob/v12.0.3/notebooks/{path.name})" in text
            assert f'REPOSITORY = \\"{NEW}\\"' in text and 'TAG = \\"v12.0.3\\"' in text
    assert f"git clone {NEW}\ncd some-other-lab\n" in (checkout / "README.md").read_text()
    assert 'version = "12.0.3"' in (checkout / "pyproject.toml").read_text()
    publish(project.address(), project.tag(), checkout)
    assert texts(checkout) == before


@pytest.mark.parametrize(
    ("repository", "tag", "message"),
    [("https://example.org/ada/lab", "v1.0.0", "OWNER/NAME"), (NEW, "main", "v1.2.3")],
)
def test_another_form_is_refused_and_nothing_is_written(checkout, repository, tag, message):
    before = texts(checkout)
    with pytest.raises(RecognizerError, match=message):
        publish(repository, tag, checkout)
    assert texts(checkout) == before


@pytest.mark.skipif("LAB_RELEASE" not in os.environ, reason="LAB_RELEASE=1 checks a release")
def test_the_checkout_has_the_tag_that_badges_and_set_up_cells_lead_to():
    tags = ran("git", "tag", "--points-at", "HEAD", check=True)
    assert project.tag() in tags.stdout.split(), f"run `git tag {project.tag()}`"
