"""Sizes of the code: functions of at most 30 lines, files of at most 300, classes of at most 12 public methods."""

import ast
from collections import defaultdict

import pytest

from tests.support import ROOT

FOLDERS = ("estbench", "estimators", "tasks")
SOURCES = [path for folder in (*FOLDERS, "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]
# functions that are longer, and why
LONGER = {
    "estbench/api/comparing.py: compare": "its parameters are the options of the command, one a line",
    "estbench/cli/compare.py: _asked": "its parameters are the options of the command, one a line",
}
REASON = "More than twelve public methods, because"


def documented(node):
    """The lines of a function without its docstring."""
    lines = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is None:
        return lines
    return lines - (node.body[0].end_lineno - node.body[0].lineno + 1)


def long_functions(tree, limit=30):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds) and documented(node) > limit}


def large_classes(tree, limit=12):
    """The classes with more public methods, properties among them, that give no reason for it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
            reason = REASON in " ".join((ast.get_docstring(node) or "").split())
            if len([name for name in methods if not name.startswith("_")]) > limit and not reason:
                found.add(node.name)
    return found


def named(sources, sizes):
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources}
    return {f"{path.relative_to(ROOT).as_posix()}: {name}" for path, tree in trees.items() for name in sizes(tree)}


def test_functions_have_at_most_30_lines():
    """Docstrings do not count; each exception is listed with its reason, and still needs it."""
    assert named(SOURCES, long_functions) == set(LONGER)


def test_files_have_at_most_300_lines():
    """Scripts and docstrings included."""
    sizes = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: size for name, size in sizes.items() if size > 300} == {}


def test_classes_have_at_most_12_public_methods_or_a_reason():
    """A class with more says why in its docstring."""
    assert named(SOURCES, large_classes) == set()


def test_open_dictionaries_are_few():
    """``dict[str, Any]`` does not say what it holds: it is written at most 54 times, half as often as it once was."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "estbench").rglob("*.py")]
    assert sum(text.count("dict[str, Any]") for text in texts) <= 54


@pytest.mark.parametrize(("body", "found"), [(29, set()), (30, {"f"})])
def test_a_long_function_is_seen(body, found):
    """Of 30 lines none, of 31 one; the lines of a docstring are left out."""
    text = 'def f():\n    """One.\n\n    Two.\n    """\n' + "    x = 1\n" * body
    assert long_functions(ast.parse(text)) == found


@pytest.mark.parametrize(("methods", "doc", "found"), [(12, "", set()), (13, "", {"C"}), (13, REASON, set())])
def test_a_large_class_is_seen(methods, doc, found):
    """Of 12 public methods none, of 13 one that gives no reason; private ones do not count."""
    lines = [f"    def m{i}(self): ..." for i in range(methods)] + [f"    def _p{i}(self): ..." for i in range(9)]
    assert large_classes(ast.parse("\n".join(["class C:", f'    """{doc} x."""', *lines]))) == found


def test_no_two_classes_of_the_framework_share_a_name():
    """A leading underscore does not tell names apart; what two classes would be called, a reader takes for one."""
    sources = [path for path in SOURCES if path.is_relative_to(ROOT / "estbench")]
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in sources}
    places = defaultdict(list)
    for path, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(path)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
