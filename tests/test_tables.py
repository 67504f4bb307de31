"""Tables of what strangers wrote: no spreadsheet finds a formula in them, and they read back."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.tables import plain_cell, read_table, safe_cell, write_table
from text_recognizer.errors import RecognizerError

ATTACKS = [
    "=1+1",
    "first line\r=1+1",
    "first line\n+1",
    "a;=1+1",
    "a,@SUM(A1)",
    "a\t-1",
    "\t=1",
    "'=1",
    "nothing special, really; no",
]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_cell_is_a_formula_with_any_separator_or_line_break(tmp_path, separator):
    path = tmp_path / "table.csv"
    write_table(path, ["text"], [[one] for one in ATTACKS])
    text = path.read_bytes().decode()
    assert "\r" not in text
    # As careless readers split: quotes count for nothing.
    cells = [cell for line in text.split("\n") for cell in line.split(separator)]
    assert not [cell for cell in cells if cell.strip('"').startswith(("=", "+", "-", "@"))]


@given(st.text(alphabet="=+-@\t'\n;, a\"", max_size=12))
def test_what_was_written_is_read_back(text):
    assert plain_cell(safe_cell(text)) == text


def test_a_short_row_and_a_carriage_return_are_borne(tmp_path):
    path = tmp_path / "table.csv"
    write_table(path, ["a", "b"], [["x\ry", None], [1]])
    assert read_table(path) == [{"a": "x\ny", "b": ""}, {"a": "1", "b": ""}]
    with path.open(newline="") as file:
        assert len(list(csv.reader(file))) == 3


def test_a_table_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(RecognizerError, match="--out another name"):
        write_table(tmp_path, ["a"], [])
