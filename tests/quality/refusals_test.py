"""The table of answers in docs/quality.md is what `translate` answers now."""

import re

import pytest
import refusals
from paths import REPOSITORY

NUMBER = r"-?\d+\.?\d*"


@pytest.fixture(scope="module")
def table():
    """The rows that stand below the head of the table in docs/quality.md."""
    page = (REPOSITORY / "docs" / "quality.md").read_text(encoding="utf-8")
    rows = page.split(refusals.HEAD)[1].split("\n\n")[0].strip().splitlines()
    cells = (row[2:-2].split(" | ", 1) for row in rows)
    return dict(cells)


def test_table_has_every_planted_fault(table):
    assert set(refusals.PLANTED) <= table.keys()


@pytest.mark.parametrize(
    "name",
    [
        "CT in place of both phases",
        "one image as both phases",
        "phases exchanged",
        "T2 as out of phase",
        "contrast inverted",
        "five slices missing in the middle",
    ],
)
def test_fault_is_answered_as_documented(table, tmp_path, name):
    cells = refusals.answer_planted(name, tmp_path)
    assert re.sub(NUMBER, "N", cells) == re.sub(NUMBER, "N", table[name])
    # Other processors round in another way.
    numbers, documented = (
        [float(number) for number in re.findall(NUMBER, text)]
        for text in (cells, table[name])
    )
    assert numbers == pytest.approx(documented, rel=0.05)
