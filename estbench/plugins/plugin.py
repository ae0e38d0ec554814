"""A plugin: what its source says of it, and the import of its class."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import estbench
from estbench.errors import UserError, plain, reason
from estbench.plugins.installed import missing_package
from estbench.plugins.loading import base, import_file, only_class
from estbench.plugins.source import Source
from estbench.runtime.guard import muted, pass_on

# the value of ``origin`` for estbench's own plugins
BUILT_IN = "built-in"


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found, not yet imported.

    Args:
        name: the plugin's name.
        kind: estimator, task, measure, chart or executor.
        module: name to import it by; empty for a file named by the user.
        attribute: name of the class in the module; empty if it is the module's only concrete one.
        path: its source.
        origin: where it was found, in words.
    """

    name: str
    kind: str
    module: str
    attribute: str
    path: Path | None
    origin: str

    @cached_property
    def _source(self) -> Source:
        return Source.of(self.path, estbench.HOMES)

    def __getstate__(self) -> dict[str, Any]:
        # only the description is pickled for other processes, not the parsed source
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def doc(self) -> str:
        """The module's docstring."""
        return self._source.doc

    @property
    def summary(self) -> str:
        """The first line of the docstring, without the name that it begins with."""
        first, _, _ = self.doc.partition("\n")
        return plain(first.partition(": ")[2] or first)

    @property
    def declared(self) -> Mapping[str, Any]:
        """The class attributes with literal values of the plugin's class, read from its source."""
        return self._source.declared(self.kind, self.attribute)

    @property
    def foreign(self) -> bool:
        """Whether it is third-party code: from an installed package, or from a file of the user."""
        return self.origin != BUILT_IN

    def load(self) -> type[Any]:
        """Imports the plugin's class; output of its module is discarded.

        Raises:
            UserError: it fails to import, or does not hold exactly one concrete class of its kind.
        """
        try:
            with muted():
                module = importlib.import_module(self.module) if self.module else import_file(self.path)
        except UserError:
            raise
        except BaseException as error:
            pass_on(error)
            why = missing_package(error) or f"fails to import: {reason(error)}"
            raise UserError(f"{self.kind} {self.name!r} ({self.origin}) {why}") from error
        if self.attribute:
            return self._named(module)
        return only_class(module, self.kind, self.origin)

    def _named(self, module: ModuleType) -> type[Any]:
        """The class that an entry point names.

        Raises:
            UserError: it does not exist, or is no concrete class of its kind.
        """
        cls: Any = module
        for part in self.attribute.split("."):
            cls = getattr(cls, part, None)
        wanted = base(self.kind)
        if not (isinstance(cls, type) and issubclass(cls, wanted)) or inspect.isabstract(cls):
            raise UserError(
                f"{self.kind} {self.name!r} ({self.origin}) must be a concrete {wanted.__name__}; "
                f"{self.module}:{self.attribute} is {'nothing' if cls is None else repr(cls)}"
            )
        return cls
