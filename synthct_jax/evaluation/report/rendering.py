"""HTML pages from the templates beside this module; each page is one offline file."""

import base64
import math

import jinja2

from synthct_jax.evaluation.report import charts, formatting

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("synthct_jax.evaluation.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    number=formatting.format_number,
    interval=formatting.format_interval,
    count=formatting.count_noun,
    names=formatting.list_names,
    capitalize_first=lambda text: text[:1].upper() + text[1:],
    direction=formatting.direction,
    base64=lambda content: base64.b64encode(content).decode(),
    data_uri=lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}",
)
_ENVIRONMENT.tests["finite"] = lambda x: x is not None and math.isfinite(x)
_ENVIRONMENT.globals.update(Scale=charts.Scale)


def render_page(template: str, **values) -> str:
    """Fill a template; every value is escaped.

    Args:
        template: file name in `templates`, for example "evaluation.html".
        values: `title`, `subtitle` and `notes` of base.html, and what the template
            itself reads; an UndefinedError names one that is not given.
    """
    return _ENVIRONMENT.get_template(template).render(values)
