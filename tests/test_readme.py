"""What the README says of the notebooks is what their sources say, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from lab_authoring.source import read_source, source_paths

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("", "*/", "*/*/")
PAGES = [
    path
    for folder in FOLDERS
    for path in sorted(ROOT.glob(f"{folder}*.md"))
    if not path.relative_to(ROOT).parts[0].startswith(".")
]


def test_the_table_lists_each_notebook_with_its_title_and_time():
    rows = re.findall(
        r"^\| \[(.+?)\]\(notebooks/(\w+)\.ipynb\) \| (\d+) minutes \| \w",
        (ROOT / "README.md").read_text(),
        re.MULTILINE,
    )
    sources = [read_source(path) for path in source_paths()]
    assert rows == [(source.title, source.name, str(source.minutes)) for source in sources]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        headings = re.findall(r"(?m)^#+ (.+)$", file.read_text()) if heading else []
        slugs = [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings]
        assert not heading or heading in slugs, target


def test_pictures_have_alt_texts():
    for page in PAGES:
        assert "![](" not in page.read_text(), page
