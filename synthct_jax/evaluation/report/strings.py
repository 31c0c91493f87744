"""Pages out of strings: until every page is a template."""

from html import escape
from pathlib import Path

from synthct_jax.evaluation.report.charts import Scale
from synthct_jax.evaluation.report.formatting import count_noun, format_number

CSS = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
DISCLAIMER = (
    '<p class="notice"><b>Research software, not a medical device.</b> Not for '
    "diagnosis, not for planning a treatment.</p>\n"
)
count = count_noun


def page(title: str, content: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{CSS}\n</style>\n</head>\n"
        f"<body>\n<main>\n{content}</main>\n</body>\n</html>\n"
    )


def section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}</section>\n"


def number(value, digits) -> str:
    return escape(format_number(value, digits))


def interval(entry, digits) -> str:
    if entry["low"] is None:
        return ""
    return f"{number(entry['low'], digits)} to {number(entry['high'], digits)}"


def ticks(low: float, high: float, at_most: int) -> list[float]:
    return Scale([low, high], 0.0, 1.0).ticks(at_most)
