"""Reads docstring and declarations from the source of a plugin, without importing it."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

# for each kind the origin of its abstract classes: the class itself, or a package of classes that extend it
_HOMES = {
    "estimator": ("estbench.core.estimator.Estimator", "estbench.families.", "estbench.estimators."),
    "task": ("estbench.core.task.Task", "estbench.data.image_task.", "estbench.tasks."),
    "measure": ("estbench.engine.base.Measure", "estbench.measures."),
    "chart": ("estbench.report.charts.",),
    "executor": ("estbench.execution.executors.base.Executor",),
}


@dataclass(frozen=True)
class Source:
    """The source of a plugin.

    Args:
        tree: its syntax tree; empty where the file cannot be read or parsed.
        homes: the module of each name that ``estbench`` itself exports.
    """

    tree: ast.Module
    homes: dict[str, str]

    @classmethod
    def of(cls, path: Path | None, homes: dict[str, str]) -> Self:
        """The source in a file."""
        try:
            tree = ast.parse(path.read_text(encoding="utf-8")) if path else ast.Module([], [])
        except (OSError, SyntaxError, ValueError):
            tree = ast.Module([], [])
        return cls(tree, homes)

    @property
    def doc(self) -> str:
        """The module's docstring."""
        return ast.get_docstring(self.tree) or ""

    def declared(self, kind: str, attribute: str = "") -> Mapping[str, Any]:
        """The class attributes with literal values of the plugin's class, those of its bases in the file included.

        Args:
            kind: estimator, task or measure.
            attribute: the name of the class; empty for the last one that extends a class of the kind.
        """
        classes = {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef)}
        chosen = attribute if attribute in classes else self._chosen(kind, classes)
        return _attributes(chosen, classes) if chosen else {}

    def _chosen(self, kind: str, classes: dict[str, ast.ClassDef]) -> str:
        """The class that is the plugin: of those that extend the kind, the last that no other one extends."""
        imported = self._imported()
        of_kind: list[str] = []
        for name, node in classes.items():
            bases = [imported.get(head, head) + rest for head, rest in map(_split, _bases(node))]
            if any(base in of_kind or self._extends(base, kind) for base in bases):
                of_kind.append(name)
        extended = {base for name in of_kind for base in _bases(classes[name])}
        return next((name for name in reversed(of_kind) if name not in extended), "")

    def _extends(self, base: str, kind: str) -> bool:
        """Whether a class, by its full name, is of a kind."""
        package, _, name = base.rpartition(".")
        if package == "estbench" and name in self.homes:
            base = f"estbench.{self.homes[name]}.{name}"
        return base.startswith(_HOMES[kind])

    def _imported(self) -> dict[str, str]:
        """The full names of what the module imports."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        return found


def _split(name: str) -> tuple[str, str]:
    """The first part of a dotted name, and the rest with its dot."""
    head, dot, rest = name.partition(".")
    return head, dot + rest


def _bases(node: ast.ClassDef) -> Iterator[str]:
    """The names of a class's bases; of ``Base[int]`` the name of ``Base``."""
    for base in node.bases:
        yield ast.unparse(base.value if isinstance(base, ast.Subscript) else base)


def _attributes(name: str, classes: dict[str, ast.ClassDef]) -> dict[str, Any]:
    """The literal attributes of a class, under those of its bases in the same file."""
    found: dict[str, Any] = {}
    for base in reversed(list(_bases(classes[name]))):
        if base in classes and base != name:
            found |= _attributes(base, {key: node for key, node in classes.items() if key != name})
    for node in classes[name].body:
        target, value = _assignment(node)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            found[target.id] = value.value
        elif isinstance(target, ast.Name):
            # computed, or declared without a value: the value of a base class does not apply
            found.pop(target.id, None)
    return found


def _assignment(node: ast.stmt) -> tuple[ast.expr | None, ast.expr | None]:
    """The target and the value of ``unbiased = True`` or ``unbiased: ClassVar[bool] = True``."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        return node.targets[0], node.value
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return node.target, node.value
    return None, None
