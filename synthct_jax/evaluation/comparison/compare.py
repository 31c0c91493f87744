"""Compares evaluations on the same subjects.

The first run is A, others are compared with it. Subjects differ more among themselves
than methods do, so differences are taken subject by subject, and their means get
intervals by bootstrap over subjects. A subject is the same where its name, data source,
grid and, as far as known, its true CT are the same.

A folder of a comparison holds compare.html, compare.csv and compare.json (`files`).
"""

from collections.abc import Sequence
from pathlib import Path

from input_pipeline.files import check_replaceable, replace_folder
from synthct_jax.evaluation.comparison import comparison_page, files
from synthct_jax.evaluation.comparison.runs import read_runs
from synthct_jax.evaluation.comparison.side_by_side import Comparison, of_runs

FILES = ("compare.html", "compare.json", "compare.csv")
FOLDER = Path("comparison")


def compare(paths: Sequence[Path], output_dir: Path = FOLDER) -> Comparison:
    """Compares runs and writes FILES; a comparison in `output_dir` is replaced.

    Args:
        paths: of runs, of which the newest evaluation is taken, or of evaluations.
        output_dir: appears whole or not at all.

    Raises:
        FileNotFoundError: there is no such folder, or no evaluation in it.
        ValueError: not two or more, one twice, no subjects in common, or a folder that
            holds something else.
    """
    output_dir = Path(output_dir)
    check_replaceable(output_dir, FILES, what="comparison")
    comparison = of_runs(read_runs(paths))
    with replace_folder(output_dir, FILES, what="comparison") as folder:
        files.write_json(folder / "compare.json", comparison)
        files.write_csv(folder / "compare.csv", comparison)
        text = comparison_page.render(comparison)
        (folder / "compare.html").write_text(text, encoding="utf-8")
    return comparison
