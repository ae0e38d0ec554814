"""A contract for import-linter: the framework and the plugins do not name each other's modules.

The folders ``estimators/`` and ``tasks/`` are imported as ``estbench.estimators`` and ``estbench.tasks``, where
import-linter does not look for them, so that its own contracts do not see these imports.
"""

# ruff: noqa: INP001  (a script, found by import-linter in the current folder)

import ast
from collections.abc import Iterator
from pathlib import Path

from importlinter import Contract, ContractCheck, fields, output


class Unnamed(Contract):
    """No module of some folders imports a module of some packages by name, except the module of its own file.

    In ``pyproject.toml``, ``folders`` are the folders that are checked, and ``packages`` the packages whose modules
    they must not import.
    """

    folders = fields.ListField(subfield=fields.StringField())
    packages = fields.ListField(subfield=fields.StringField())

    def check(self, graph: object, verbose: bool) -> ContractCheck:  # noqa: ARG002  (import-linter's own)
        """Reads the sources."""
        found = [
            line for folder in self.folders for path in sorted(Path(folder).rglob("*.py")) for line in self._of(path)
        ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Prints each import that must not be."""
        for line in check.metadata["found"]:
            output.print_error(line)

    def _of(self, path: Path) -> Iterator[str]:
        for number, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if any(name.startswith(f"{package}.") or name == package for package in self.packages):
                yield f"{path}:{number} imports {name}"


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The full names of all that a module imports, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, f"{'.' * node.level}{node.module or ''}"
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
