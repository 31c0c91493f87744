"""Files, modules, flags, fields and make targets that the documentation names exist."""

import re
from pathlib import Path

import pytest
from paths import REPOSITORY

from synthct_jax.configs import phantom
from synthct_jax.runtime.mode_table import MODES

MISTAKES = REPOSITORY / "docs" / "answers.md"  # names much that does not exist
PAGES = sorted(
    {REPOSITORY / "README.md", REPOSITORY / "launch" / "README.md"}
    | set((REPOSITORY / "docs").glob("*.md")) - {MISTAKES}
)
_FOLDERS = "synthct_jax|input_pipeline|configs|launch|tests|docs"
_RUN = re.compile(r"-m ((?:synthct_jax|input_pipeline|tests)[\w.]*)(.*)")

_SYNTHCT = re.compile(r"(?<![\w/])synthct (\w+)(.*)")


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def page(request) -> Path:
    return request.param


def commands(page: Path) -> list[tuple[str, str]]:
    """The module and the arguments of each command of ours on a page."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    console = [
        ("synthct_jax.main", "".join(m.groups())) for m in _SYNTHCT.finditer(text)
    ]
    return [match.groups() for match in _RUN.finditer(text)] + console


def test_modes_of_commands_exist(page):
    text = page.read_text(encoding="utf-8")
    assert {mode for mode, _ in _SYNTHCT.findall(text)} <= {*MODES, "MODE"}


def flags() -> set[str]:
    """The flags that modules of ours define, by absl or argparse."""
    pattern = re.compile(r'(?:DEFINE_\w+\(\s*"|add_argument\(\s*"--)(\w+)"')
    return {
        name
        for folder in ("synthct_jax", "input_pipeline", "tests")
        for path in (REPOSITORY / folder).rglob("*.py")
        for name in pattern.findall(path.read_text(encoding="utf-8"))
    }


def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert not [name for name in targets if not (page.parent / name).exists()]


def test_anchors_lead_to_headings(page):
    for name, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        target = page.parent / name if name else page
        slugs = [
            re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", target.read_text(), re.M)
        ]
        assert anchor in slugs


def test_paths_exist(page):
    named = re.findall(rf"(?<![\w/.-])((?:{_FOLDERS})/[\w./-]+\w)", page.read_text())
    assert not [path for path in named if not (REPOSITORY / path).exists()]


def test_modules_of_commands_exist(page):
    for module, _ in commands(page):
        path = REPOSITORY / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), (
            module
        )


def test_flags_of_commands_exist(page):
    fields = set(phantom.get_config().to_dict())
    for _, arguments in commands(page):
        for flag in re.findall(r"--([\w.]+)", arguments.split(" -- ")[0]):
            name, _, field = flag.partition(".")
            assert name in flags(), flag
            assert not field or field.split(".")[0] in fields, flag


def test_fields_exist(page):
    config = phantom.get_config()
    sections = "data|mesh|model|loss|train|phantom"
    pattern = rf"(?<![\w./])(?:config\.)?({sections})\.(?!py|sbatch)([a-z_]+)"
    for code in re.findall(r"`([^`\n]+)`", page.read_text()):
        for section, name in re.findall(pattern, code):
            assert name in config[section], code


def test_make_targets_exist(page):
    targets = re.findall(r"^([\w./-]+):", (REPOSITORY / "Makefile").read_text(), re.M)
    code = re.findall(r"`make ([\w./-]+)|^make ([\w./-]+)", page.read_text(), re.M)
    assert {name for pair in code for name in pair if name} <= set(targets)
