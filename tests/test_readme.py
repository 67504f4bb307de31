"""What the README says of the notebooks is what their sources say, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from lab_authoring.source import read_source, source_paths

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("*/*/README.md"))]


def test_the_table_lists_each_notebook_with_its_title_and_time():
    rows = re.findall(
        r"^\| \[(.+?)\]\(notebooks/(\w+)\.ipynb\) \| (\d+) minutes \| \w",
        (ROOT / "README.md").read_text(),
        re.MULTILINE,
    )
    sources = [read_source(path) for path in source_paths()]
    assert rows == [(source.title, source.name, str(source.minutes)) for source in sources]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"https?://|#", target):
            assert (page.parent / target.split("#")[0]).exists(), target


def test_pictures_have_alt_texts():
    for page in PAGES:
        assert "![](" not in page.read_text(), page
