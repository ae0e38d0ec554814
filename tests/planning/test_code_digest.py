import sys

import pytest

from estbench.planning.code_digest import Sources
from estbench.plugins.registry import discover

FILES = {
    "plug.py": "import numpy\nimport helper\nfrom pack.inner import tool\n\n\ndef f():\n    import late\n",
    "helper.py": '"""Says."""\nA = 1\n',
    "late.py": "B = 2\n",
    "unused.py": "C = 3\n",
    "pack/__init__.py": "",
    "pack/inner.py": "from . import sibling\nfrom .deep import thing\n\n\ndef tool():\n    return sibling.D\n",
    "pack/sibling.py": "D = 4\n",
    "pack/deep/__init__.py": "from .thing import E\n",
    "pack/deep/thing.py": "from ..sibling import D\nE = 5\n",
    "pack/untouched.py": "G = 6\n",
    "other.py": "F = 7\n",
}
CLOSURE = {"plug.py", "helper.py", "late.py", "pack/__init__.py", "pack/inner.py", "pack/sibling.py"} | {
    "pack/deep/__init__.py",
    "pack/deep/thing.py",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's modules."""
    for name, source in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    assert not {"plug", "helper", "pack", "late"} & (set(sys.modules) - before)


def digest(project):
    return Sources().digest([("plug", project / "plug.py")])


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_edited_helper_changes_the_digest_and_an_unrelated_file_does_not(project, name):
    """Everything that a plugin imports counts, also relatively, in functions and from packages; nothing else does."""
    before = digest(project)
    file = project / name
    file.write_text(file.read_text() + "\nX = 9\n")
    assert (digest(project) != before) == (name in CLOSURE)


@pytest.mark.parametrize("name", sorted(CLOSURE))
def test_comments_docstrings_and_layout_do_not_count(project, name):
    """Of a module's text only what it does is in the digest."""
    before = digest(project)
    file = project / name
    docstring = "" if file.read_text().startswith('"""') else '"""About."""\n'
    file.write_text(docstring + "# a comment\n\n" + file.read_text().replace("Says", "Tells") + "# another\n")
    assert digest(project) == before


def test_a_missing_helper_that_appears_counts(project):
    """A module that could not be found has no digest; once it is there it has one."""
    (project / "late.py").unlink()
    before = digest(project)
    (project / "late.py").write_text("B = 2\n")
    assert digest(project) != before


def test_a_built_in_plugin_depends_on_its_family_and_on_nothing_beside_it():
    """RLOO's sources hold its family and nodes, but no report, no store and no other estimator."""
    plugin = discover("estimator")["rloo"]
    found = set(Sources()._closure(plugin.module, plugin.path))
    assert {"estbench.estimators.rloo", "estbench.families.score_function", "estbench.core.node"} <= found
    assert not {name for name in found if ".report" in name or ".store" in name or ".plan" in name}
    assert sum(name.startswith("estbench.estimators.") for name in found) == 1


def test_public_names_are_followed_to_where_they_are_defined(tmp_path):
    """``from estbench import ScoreFunction`` depends on the module that defines it, and not on those of other names."""
    file = tmp_path / "mine.py"
    file.write_text("from estbench import ScoreFunction\n")
    found = set(Sources()._closure("mine", file))
    assert "estbench.families.score_function" in found
    assert "estbench.families.coupled" not in found
    file.write_text("import estbench\n")
    assert "estbench.families.coupled" in set(Sources()._closure("mine", file))
