"""The page of a comparison, of single runs or of the variants of a sweep."""

from synthct_jax.evaluation import metric_definitions
from synthct_jax.evaluation.comparison import tables
from synthct_jax.evaluation.comparison.compare import Comparison
from synthct_jax.evaluation.comparison.differences import Measure
from synthct_jax.evaluation.report.charts import DotChart, DotRow
from synthct_jax.evaluation.report.formatting import count_noun
from synthct_jax.evaluation.report.rendering import render_page
from synthct_jax.metrics.intervals import BETTER, WORSE

# Title, group of metrics and kind of region of the tables of measures.
_SECTIONS = (
    ("In the body, against the reference CT", "paired", "body"),
    ("Regions", "paired", "border"),
    ("Bands of reference HU", "paired", "band"),
    ("Tissues", "paired", "tissue"),
    ("Tissues without partial volume", "paired", "pure"),
    ("Against its own MR, without a reference CT", "consistency", "body"),
    ("Distance from the distribution of real CT", "distribution", "body"),
)


def render(
    comparison: Comparison, *, title: str, subtitle: str, pictures: bytes | None
) -> str:
    """Return the page as HTML.

    Args:
        subtitle: what is compared; if empty, the data set, the split and the number of
            common subjects.
        pictures: PNG of the same slices of every group, or None.
    """
    data = comparison.groups[0].runs[0].results.data
    shared = count_noun(len(comparison.subjects), "subject")
    return render_page(
        "comparison.html",
        title=title,
        subtitle=subtitle
        or f"{data['source']} data, {data['split']} split, {shared} in common",
        notes=comparison.warnings,
        page_class="wide",
        comparison=comparison,
        tables=tables,
        pictures=pictures,
        values_chart=_values_chart(comparison),
        differences_chart=_differences_chart(comparison),
        sections=[
            (title, measures)
            for title, *kind in _SECTIONS
            if (measures := [m for m in comparison.measures if _kind(m) == kind])
        ],
        reach=_reach,
        classes={BETTER: "is-better", WORSE: "is-worse"},
    )


def _kind(measure: Measure) -> list[str]:
    """Return the group of its metric, and the kind of its region."""
    region = measure.region.partition(":")[0]
    return [metric_definitions.group(measure.metric), region]


def _values_chart(comparison: Comparison) -> DotChart:
    """Return the chart of the main measure: a row for each group, a dot per subject.

    A dot is the mean over seeds. Lines join the dots of a subject.
    """
    main = comparison.main_measure
    rows = [
        DotRow(
            label=group.title,
            values={s: v.mean() for s, v in main.values[group.name].items()},
            interval=main.means[group.name],
        )
        for group in comparison.groups
        if group.name in main.values
    ]
    return DotChart(rows, main.definition.limits, joined=True)


def _differences_chart(comparison: Comparison) -> DotChart | None:
    """Return a row of dots for each pair, the differences of its subjects."""
    main = comparison.main_measure
    rows = [
        DotRow(
            label=tables.pair_title(pair),
            values=main.subject_differences(pair),
            interval=difference.interval,
        )
        for pair, difference in main.differences.items()
    ]
    limits = main.definition.difference_limits
    return DotChart(rows, limits, include_zero=True) if rows else None


def _reach(measure: Measure) -> float:
    """Return the largest absolute end of the differences' intervals, 0 without any."""
    ends = [
        abs(end)
        for difference in measure.differences.values()
        for end in (difference.interval.low, difference.interval.high)
        if end is not None
    ]
    return max(ends, default=0.0)
