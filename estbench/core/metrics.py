"""Metrics: a measure's declarations of the values that it yields. Imports no torch, so that reports can use it."""

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, get_args

Better = Literal["lower", "higher"]
IntervalKind = Literal["own", "seeds", "bound", "none"]
Show = Literal["main", "page", "asked", "none"]

# rank of the result of a training run
RESULT = 2
_PLACEHOLDER = re.compile(r"\{([a-z_]+)(:d)?\}")


@dataclass(frozen=True)
class Metric:
    """One metric of a measure, or several that share a pattern.

    Args:
        key: its name in results, ``step_time``. A pattern has placeholders: ``{layer}`` stands for any text and
            ``{samples:d}`` for a whole number, so that ``norm/{layer}`` declares ``norm/encoder`` and ``norm/decoder``.
        title: its heading in tables, which may use the placeholders of the key. By default the key in words.
        unit: the unit of its values: ``s``, ``B``, ``Hz`` and ``FLOP`` are shown with a prefix that keeps numbers
            short, ``%`` is shown for shares between 0 and 1, and any other text is shown as it is.
        better: ``lower`` or ``higher``; None where neither is better.
        log: whether its values are positive and compared by their ratio, so that figures have a logarithmic axis.
        interval: where the report takes the interval from. ``own``: each row has an interval of its own, and over
            several seeds the report gives that of their mean; if rows have none, it is that of ``seeds``. ``seeds``:
            Student's interval over seeds, of the values after the last step of each; estimators are compared seed by
            seed. ``bound``: like ``own``, for the root of a squared distance; an interval that begins at 0 is an
            upper bound. ``none``: there is no interval, and nothing is tested.
        about: one sentence that explains the metric, shown when the pointer is over its heading.
        show: ``main``: a column of every table. ``page``: a column of the page and of ``report.md``. ``asked``: a
            column that the page shows on request, and LaTeX tables by ``--columns``. ``none``: rows in the results,
            and no column.
        told: whether the report says in a sentence which estimator is best, and plots the metric in the figure of
            kind ``metrics``; without effect if ``show`` is ``none``.
        tracked: whether ``estbench track`` and ``gate`` follow it; only a metric that has a better direction.
        group: for a key with one placeholder, the value that is preferred: the tables have a single column, of the
            rows with this value, or with the first in alphabetical order where a task has none. By default every
            value has a column of its own.
        test: the key of the metric that holds p-values of "this metric is 0"; it has the same placeholder.
        product: the columns whose product this is; a metric that no row holds and that the report computes.
        rank: tables are ordered by the column with the highest rank. 2: the result of a training. 1: the variance.
        unbiased: whether only estimators that are declared unbiased compete for the best value, if there are any: a
            biased estimator can have any variance, and a bias that was not found is no merit.
    """

    key: str
    title: str = ""
    unit: str = ""
    better: Better | None = None
    log: bool = False
    interval: IntervalKind = "own"
    about: str = ""
    show: Show = "main"
    told: bool = True
    tracked: bool = True
    group: str = ""
    test: str = ""
    product: tuple[str, ...] = ()
    rank: int = 0
    unbiased: bool = False

    _CHOICES: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "better": (*get_args(Better), None),
        "interval": get_args(IntervalKind),
        "show": get_args(Show),
    }

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("a metric needs a key, the name of its rows in the results; got an empty one")
        for name, choices in self._CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} of metric {self.key!r} is one of {choices}; got {getattr(self, name)!r}")
        if left := re.search(r"[{}]", _PLACEHOLDER.sub("", self.key)):
            raise ValueError(
                f"a placeholder in a key is written {{layer}} or {{samples:d}}; got {left[0]!r} in {self.key!r}"
            )
        if self.group and len(self.placeholders) != 1:
            raise ValueError(f"a metric with a preferred group has one placeholder in its key; got {self.key!r}")

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names of the placeholders in the key."""
        return tuple(name for name, _ in _PLACEHOLDER.findall(self.key))

    @property
    def column(self) -> str:
        """The key of the single column of a metric with a preferred group: ``variance`` of ``variance/{group}``."""
        return re.sub(r"[/_]?\{[^}]*\}", "", self.key) if self.group else self.key

    def match(self, key: str) -> dict[str, str] | None:
        """The text that each placeholder stands for in a key; None where the key is of another metric."""
        found = _pattern(self.key).fullmatch(key)
        return None if found is None else found.groupdict()

    def of(self, measure: str, key: str) -> "Quantity":
        """The metric of rows with this key, which fills in the placeholders.

        Raises:
            ValueError: the key is of another metric.
        """
        found = self.match(key)
        if found is None:
            raise ValueError(f"{key!r} is no metric of the pattern {self.key!r}")
        title, about, test = (filled(text, found) for text in (self.title or in_words(key), self.about, self.test))
        return Quantity(key, measure, title, about, test, self)


# for keys that no known measure declares, in results from elsewhere or from an older version
UNDECLARED = Metric("{key}", told=False, tracked=False)


@functools.lru_cache(maxsize=1024)
def _pattern(key: str) -> re.Pattern[str]:
    parts, last = [], 0
    for found in _PLACEHOLDER.finditer(key):
        number = r"\d+" if found[2] else ".+"
        parts += [re.escape(key[last : found.start()]), f"(?P<{found[1]}>{number})"]
        last = found.end()
    return re.compile("".join([*parts, re.escape(key[last:])]))


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its placeholders filled in; whole numbers with separators in thousands."""

    def value(found: re.Match[str]) -> str:
        known = values.get(found[1], found[0])
        return f"{int(known):,}" if known.isdecimal() else known

    return _PLACEHOLDER.sub(value, text)


def in_words(key: str) -> str:
    """A key as a heading: ``step_time`` is "Step time"."""
    words = re.sub(r"[_/\s]+", " ", key).strip()
    return words[:1].upper() + words[1:]


@dataclass(frozen=True)
class Quantity:
    """One metric of results, its placeholders filled in: a column of the tables.

    Args:
        key: the column's name, which is that of the rows but for metrics with a preferred group.
        measure: the measure it comes from.
        title: its heading.
        about: one sentence that explains it.
        test: the key of the p-values of "this is 0"; empty where there are none.
        declared: the declaration it follows.
    """

    key: str
    measure: str
    title: str
    about: str = ""
    test: str = ""
    declared: Metric = UNDECLARED

    @property
    def better(self) -> Better | None:
        """The better direction."""
        return self.declared.better

    @property
    def unit(self) -> str:
        """The unit of its values."""
        return self.declared.unit

    @property
    def shown(self) -> bool:
        """Whether the page shows the column before it is asked to."""
        return self.declared.show in ("main", "page")

    @property
    def by_seeds(self) -> bool:
        """Whether estimators are compared seed by seed."""
        return self.declared.interval == "seeds"

    @property
    def is_bound(self) -> bool:
        """Whether an interval that begins at 0 is an upper bound."""
        return self.declared.interval == "bound"


@dataclass(frozen=True)
class Metrics:
    """The declared metrics of several measures, which are kept with results.

    Args:
        declared: the metrics by measure, in the order of tables. If several match a key, the first one counts.
    """

    declared: Mapping[str, tuple[Metric, ...]] = field(default_factory=dict)

    def find(self, measure: str, key: str) -> Quantity:
        """The quantity of a measure's rows with this key; an undeclared one has no better direction."""
        for metric in self.declared.get(measure, ()):
            if metric.match(key) is not None:
                return metric.of(measure, key)
        return Quantity(key, measure, in_words(key))

    def __add__(self, other: "Metrics") -> "Metrics":
        """The metrics of both, which may know different metrics of the same measure."""
        measures = dict.fromkeys([*self.declared, *other.declared])
        sides = (self.declared, other.declared)
        return Metrics({name: _merged(*(side.get(name, ()) for side in sides)) for name in measures})

    def used(self, keys: Mapping[str, Iterable[str]]) -> "Metrics":
        """The declarations that rows with these keys (by measure) use, and the products computed from them."""
        found = {name: {self.find(name, key).declared for key in own} for name, own in keys.items()}
        return Metrics(
            {
                name: tuple(metric for metric in metrics if metric in found.get(name, ()) or metric.product)
                for name, metrics in self.declared.items()
            }
        )

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """The declarations in a form for JSON; fields with their default value are left out."""
        return {measure: [_short(metric) for metric in metrics] for measure, metrics in self.declared.items()}

    @classmethod
    def from_json(cls, content: object) -> Self:
        """Reads declarations that ``to_json`` wrote, and ignores unknown fields.

        Raises:
            ValueError: the content has another form.
        """
        try:
            measures: dict[str, list[dict[str, Any]]] = dict(content)  # type: ignore[call-overload]
            return cls({str(name): tuple(map(_from_json, metrics)) for name, metrics in measures.items()})
        except TypeError as error:
            raise ValueError(f"these are no declarations of metrics: {error}") from error


def _from_json(content: Mapping[str, Any]) -> Metric:
    known = {each.name for each in fields(Metric)}
    values: dict[str, Any] = {name: value for name, value in dict(content).items() if name in known}
    return Metric(**{**values, "product": tuple(values.get("product", ()))})


def _merged(first: Sequence[Metric], second: Sequence[Metric]) -> tuple[Metric, ...]:
    """Merges two sequences into one that keeps the order of the first, and of the second as far as possible."""
    found, place = list(first), 0
    for metric in second:
        if metric in found:
            place = found.index(metric) + 1
        else:
            found.insert(place, metric)
            place += 1
    return tuple(found)


def _short(metric: Metric) -> dict[str, Any]:
    defaults = {each.name: each.default for each in fields(Metric)}
    return {name: value for name, value in asdict(metric).items() if value != defaults[name]}


def unique(metrics: Iterable[Metric]) -> bool:
    """Whether all keys are different."""
    return max(Counter(metric.key for metric in metrics).values(), default=0) <= 1
