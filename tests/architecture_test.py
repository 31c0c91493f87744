"""The source keeps the order of imports and the sizes of docs/architecture.md."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from paths import REPOSITORY

PACKAGES = ("synthct_jax", "input_pipeline")


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Syntax tree of every module by its dotted name; a package is its __init__."""
    return {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(
            ".__init__"
        ): ast.parse(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((REPOSITORY / package).rglob("*.py"))
    }


def imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all that a module imports, also within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in modules() else str(node.module)


@functools.cache
def graph() -> dict[str, set[str]]:
    """The modules of ours that each module imports."""
    return {
        name: {other for other in imports(tree) if other in modules()} - {name}
        for name, tree in modules().items()
    }


def import_order(package: str) -> dict[str, int]:
    """Line number of each unit in the import order that docs/architecture.md gives.

    Units are the packages and modules directly below `package`. A line of the block
    holds names, comma-separated, and after two spaces a remark.
    """
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = re.search(rf"^```text\n{package}\n(.*?)^```", page, re.M | re.S)
    assert block, f"docs/architecture.md has no import order of {package}"
    lines = [line.strip().split("  ")[0] for line in block[1].splitlines()]
    return {name: i for i, line in enumerate(lines) for name in line.split(", ")}


def unit(module: str, package: str) -> str:
    """The package or module directly below `package` that holds `module`."""
    first, *rest = module.split(".")
    return rest[0] if first == package and rest else first


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_from_below(package):
    order = import_order(package)
    upward = []
    for module, imported in graph().items():
        if not module.startswith(f"{package}."):
            continue
        here = unit(module, package)
        assert here in order, f"docs/architecture.md gives no place to {here}"
        upward += [
            f"{module} imports {other}"
            for other in imported
            if unit(other, package) != here
            and order.get(unit(other, package), -1) <= order[here]
        ]
    assert not upward


@pytest.mark.parametrize("package", PACKAGES)
def test_import_order_names_only_what_exists(package):
    units = {unit(module, package) for module in modules()}
    assert set(import_order(package)) <= units


def test_modules_do_not_import_each_other_in_a_circle():
    graphlib.TopologicalSorter(graph()).prepare()  # raises CycleError with the modules


def test_input_pipeline_imports_neither_jax_nor_synthct_jax():
    forbidden = ("jax", "flax", "optax", "synthct_jax")
    assert not [
        f"{module} imports {name}"
        for module, tree in modules().items()
        if module.startswith("input_pipeline")
        for name in imports(tree)
        if name.split(".")[0] in forbidden
    ]


def test_files_are_short():
    longest = {"synthct_jax/main.py": 120, "synthct_jax/model/networks.py": 180}
    paths = [p for name in PACKAGES for p in (REPOSITORY / name).rglob("*.py")]
    sizes = {
        str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines())
        for path in paths
    }
    assert not [
        f"{path} has {size} lines"
        for path, size in sizes.items()
        if size > longest.get(path, 400)
    ]


def test_few_modules_are_at_the_top():
    assert len(list((REPOSITORY / "synthct_jax").glob("*.py"))) <= 8


def definitions(
    tree: ast.Module | ast.ClassDef,
) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Yield the public classes, functions and methods, not those within functions."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            if not node.name.startswith("_"):
                yield node
                if isinstance(node, ast.ClassDef):
                    yield from definitions(node)


def test_modules_and_public_definitions_have_docstrings():
    """A definition of a single statement may go without."""
    lacking = [name for name, tree in modules().items() if not ast.get_docstring(tree)]
    lacking += [
        f"{name}: {node.name}"
        for name, tree in modules().items()
        for node in definitions(tree)
        if not ast.get_docstring(node) and len(node.body) > 1 and node.name != "main"
    ]
    assert not lacking


def test_docstrings_begin_with_a_verb_or_a_noun():
    riddle = re.compile(r"(Whose|Of|What|Where|How|Whether)\b")
    assert not [
        f"{name}: {docstring.splitlines()[0]}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and riddle.match(docstring := ast.get_docstring(node) or "")
    ]


def test_variables_are_named_for_their_value():
    vague = {"found", "told", "asked"}
    assert not [
        f"{name}, line {node.lineno}: {node.id}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Store)
        and node.id in vague
    ]


def test_translation_starts_without_libraries_that_it_does_not_need():
    program = """
import sys
import synthct_jax.translate
names = ("grain", "tensorflow_datasets", "scipy.stats")
print([name for name in names if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr
