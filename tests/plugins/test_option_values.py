"""Values of options: read by the type that the constructor declares, written so that they are read again."""

import enum
import inspect
import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, Optional

import pytest
from pydantic import AllowInfNan, Field

from estbench.errors import UserError
from estbench.plugins.grammar import written
from estbench.plugins.options import ConstructionError, checked_options, construct, defaults
from estbench.plugins.spec import Spec, expand, select, split
from estbench.plugins.values import as_plain


class Colour(enum.Enum):
    """An enumeration with text and numbers for values."""

    RED = 1
    BLUE = "blue"


NONE_GIVEN = inspect.Parameter.empty
ADMITTED = [
    *[(str, text, text) for text in ("2017", "true", "1e5", "none", "007", "200 200", "it's", "a=b", "(1,2)", "nan")],
    (str, "'a, b'", "a, b"),
    (str, '"x]=[y"', "x]=[y"),
    (str, r"'it\'s \\ \n'", r"it's \ \n"),
    (str, "''", ""),
    (str, "", ""),
    (int, "-3", -3),
    (int, " 4 ", 4),
    (float, "4", 4.0),
    (float, "1e-3", 1e-3),
    (Annotated[float, AllowInfNan(True)], "inf", math.inf),
    (Annotated[float, Field(gt=0)], "0.5", 0.5),
    (bool, "TRUE", True),
    (bool, "false", False),
    (Optional[float], "none", None),  # noqa: UP045
    (float | None, "None", None),
    (float | None, "2", 2.0),
    (str | None, "none", None),
    (str | None, "'none'", "none"),
    (Literal["none", "tree"] | None, "none", "none"),
    (Literal["2", 3], "2", "2"),
    (Literal["2", 3], "3", 3),
    (int | str, "4", 4),
    (str | int, "4", 4),
    (int | str, "'4'", "4"),
    (int | str, "1 2", "1 2"),
    (float | tuple[float, ...], "1 2", (1.0, 2.0)),
    (tuple[int, ...], "(1,2)", (1, 2)),
    (tuple[int, ...], "[1, 2,]", (1, 2)),
    (tuple[int, ...], "1 2", (1, 2)),
    (tuple[int, ...], "4", (4,)),
    (tuple[int, ...], "()", ()),
    (tuple[int, str], "(1,1)", (1, "1")),
    (tuple[tuple[int, ...], ...], "((1,2),(3))", ((1, 2), (3,))),
    (list[float], "(1,2)", [1.0, 2.0]),
    (list[str], "('a, b',2017)", ["a, b", "2017"]),
    (set[str], "(b,a)", {"a", "b"}),
    (Sequence[bool], "(true,false)", (True, False)),
    (tuple, "(1,a)", (1, "a")),
    (Colour, "RED", Colour.RED),
    (Colour, "blue", Colour.BLUE),
    (Path, "'a b/c'", Path("a b/c")),
    (NONE_GIVEN, "4", 4),
    (NONE_GIVEN, "'4'", "4"),
    (NONE_GIVEN, "adam", "adam"),
    (NONE_GIVEN, "(1,x)", (1, "x")),
]
REFUSED = [
    (float, "nan", "expected a finite number; got 'nan'"),
    (float, "-inf", "expected a finite number"),
    (float, "1e400", "expected a finite number"),
    (float, "'1'", "expected a finite number; got the text '1'"),
    (float, "true", "expected a finite number"),
    (float | None, "nan", "expected a finite number or none; got 'nan'"),
    (tuple[float, ...], "(1,nan)", "expected a list such as"),
    (Annotated[float, Field(gt=0)], "-1", "expected a finite number .input should be greater than 0.; got '-1'"),
    (int, "4.0", "expected a whole number; got '4.0'"),
    (int, "1e3", "expected a whole number"),
    (int, "true", "expected a whole number"),
    (int, "9223372036854775808", "expected a whole number .9223372036854775807 at most."),
    (bool, "1", "expected true or false; got '1'"),
    (bool, "yes", "expected true or false"),
    (Literal["a", 3] | None, "b", "expected a or 3 or none; got 'b'"),
    (tuple[int, ...], "(1,a)", "expected a list such as \\(1,2\\), each a whole number; got '\\(1,a\\)'"),
    (tuple[int, ...], "'1 2'", "expected a list such as"),
    (tuple[int, str], "(1,2,3)", "expected a list such as"),
    (Colour, "green", "expected RED or blue; got 'green'"),
    (Callable[[int], int], "len", "expected Callable"),
]


def taking(annotation):
    """A class whose constructor has one option, of this type."""

    class Taking:
        def __init__(self, value=1):
            self.value = value

    if annotation is not NONE_GIVEN:
        Taking.__init__.__annotations__["value"] = annotation
    return Taking


@pytest.mark.parametrize(("annotation", "text", "value"), ADMITTED)
def test_values_are_read_by_the_declared_type(annotation, text, value):
    """What is written becomes the value and the type that the annotation asks for."""
    found = construct(taking(annotation), Spec.one(f"x[value={text}]")).value
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(("annotation", "text", "value"), ADMITTED)
def test_a_specification_that_was_checked_makes_the_same_value_elsewhere(annotation, text, value):
    """Plain options go through JSON and through their own text, and make the same value in another process."""
    spec = Spec("x", checked_options(taking(annotation), Spec.one(f"x[value={text}]")))
    assert Spec.one(str(spec)) == spec
    for again in (Spec.one(str(spec)), Spec("x", json.loads(spec.params)), Spec("x", dict(spec.options))):
        assert again.params == spec.params
        # of text or nothing, the word none stays nothing
        if value != "none" or annotation != str | None:
            assert as_plain(construct(taking(annotation), again).value) == as_plain(value)


@pytest.mark.parametrize(("annotation", "text", "reason"), REFUSED)
def test_refusals_say_what_is_expected(annotation, text, reason):
    """A value that the type does not admit is refused in one line, with what is expected and what was given."""
    with pytest.raises(UserError, match=f"^x: option 'value': {reason}") as error:
        construct(taking(annotation), Spec.one(f"x[value={text}]"))
    assert "\n" not in str(error.value)


def test_values_from_python_are_held_to_the_type_too():
    """Text is no number, and a list is one whatever its container."""
    assert construct(taking(tuple[int, ...]), Spec("x", {"value": [1, 2]})).value == (1, 2)
    assert construct(taking(float), Spec("x", {"value": 1})).value == 1.0
    for annotation, value in ((int, "4"), (float, float("nan")), (str, 4), (bool, 1)):
        with pytest.raises(UserError, match="expected"):
            construct(taking(annotation), Spec("x", {"value": value}))


def test_annotations_as_text():
    """Annotations are resolved one by one: an option whose own does not is refused, the others are read."""

    class Texts:
        def __init__(self, good: "tuple[int, ...]" = (), bad: "Nowhere" = 0, worse: "sys.exit(0)" = 0):  # noqa: F821
            self.good = good

    Texts.__init__.__globals__["sys"] = __import__("sys")
    assert construct(Texts, Spec.one("x[good=1 2]")).good == (1, 2)
    for option, reason in (("bad", "NameError"), ("worse", "SystemExit")):
        with pytest.raises(UserError, match=f"option '{option}': its annotation .* does not resolve: {reason}"):
            construct(Texts, Spec.one(f"x[{option}=1]"))


def test_none_by_default_admits_none():
    """An option whose default is ``None`` takes it, whatever its annotation says."""

    class Lax:
        def __init__(self, value: float = None):  # noqa: RUF013
            self.value = value

    assert construct(Lax, Spec.one("x[value=none]")).value is None


def test_defaults_have_stable_names():
    """Defaults that no text gives are named, without an address; what a constructor raises is told from a refusal."""

    class Odd:
        def __init__(self, f=lambda x: x, where=Path(), names=frozenset({"b", "a"}), thing=object(), colour=Colour.RED):  # noqa: B008
            raise KeyError("gone")

    found = defaults(Odd)
    assert found["where"] == "."
    assert found["names"] == ("a", "b")
    assert found["thing"] == "<object>"
    assert found["colour"] == "RED"
    assert "lambda" in found["f"]
    assert "0x" not in json.dumps(found)
    with pytest.raises(ConstructionError, match="x cannot be made: KeyError: 'gone'"):
        construct(Odd, Spec("x"))


def test_what_a_constructor_prints_is_dropped(capfd):
    """Nothing that a plugin prints where it is made is seen."""

    class Loud:
        def __init__(self):
            print("noise")  # noqa: T201

    construct(Loud, Spec("x"))
    assert capfd.readouterr() == ("", "")


def test_lists_and_grids_are_told_apart():
    """Commas in brackets or quotes belong to a value, others make a grid."""
    found = [spec.options["w"] for spec in expand("x[w=(1,2),(3),'a,b',4]")]
    assert found == [(1, 2), (3,), "a,b", 4]
    assert split("a[w=(1,2)],b[l='x],y'], c") == ["a[w=(1,2)]", "b[l='x],y']", "c"]


def test_words_that_mean_one_value_are_kept_until_the_type_is_known():
    """``1e5`` and ``100000.0`` are one number and two texts."""
    assert len(select(["x[label=1e5,100000.0]"], ["x"], "thing")) == 2


@pytest.mark.parametrize(
    "text",
    [
        "x[a='b]",
        "x[a=(1,2]",
        "x[a=(1]",
        "x[a='b'c]",
        "x[a=(1)2]",
        "x[=3]",
        "x[a=1,=3]",
        "x['a'=3]",
        "x[a=1]]",
        "x[a=" + "(" * 2000,
        "x[a=" + "(" * 2000 + ")" * 2000 + "]",
        "x[(1)]",
        "x]",
        "x[a=b[c]",
    ],
)
def test_what_is_not_well_formed_is_one_line(text):
    """Brackets and quotes that do not match are refused, in a line of bounded length."""
    with pytest.raises(UserError) as error:
        list(expand(text))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_endless_grids_are_refused():
    """A grid of more members than fit into memory is refused before it is made."""
    axes = ",".join(f"a{n}={','.join(map(str, range(10)))}" for n in range(12))
    with pytest.raises(UserError, match="100,000 members at most"):
        list(expand(f"x[{axes}]"))


def _random_value(draw, depth=0):
    signs = "ab1 .,=[]()'\"\\-_\u202e\x1b\n\u00e9xNone0e"
    makers = [
        lambda: draw.choice([True, False, None, 0, -1, 10**12, 0.0, -0.0, 1e-300, 1e22, 0.1, math.inf]),
        lambda: draw.uniform(-1e3, 1e3),
        lambda: "".join(draw.choices(signs, k=draw.randrange(8))),
        lambda: draw.choice(["true", "None", "none", "nan", "1e5", "inf", "1_0", "", " ", "'", '"', "(1)", "١"]),
        lambda: tuple(_random_value(draw, depth + 1) for _ in range(draw.randrange(4))),
    ]
    return draw.choice(makers[: 4 + (depth < 3)])()


@pytest.mark.parametrize("seed", range(20))
def test_what_is_written_is_read_again(seed):
    """Any specification is read from its own text as the same one, alone, in a list and as a member of a grid."""
    draw = random.Random(seed)
    for _ in range(100):
        spec = Spec("x", {key: _random_value(draw) for key in draw.sample(["a", "b_2", "naïve"], draw.randrange(4))})
        again = Spec.one(str(spec))
        assert dict(again.options) == dict(spec.options), str(spec)
        assert again == spec
        assert str(again) == str(spec)
        assert again.params == spec.params
        assert split(f"y,{spec},z[a=1]") == ["y", str(spec), "z[a=1]"]
        # in a grid what is empty is left out
        value = _random_value(draw) or 1
        assert [each.options["a"] for each in expand(f"x[a={written(value)},{written(value)}]")] == [value, value]


@pytest.mark.parametrize("seed", range(10))
def test_any_text_is_a_specification_or_one_line(seed):
    """Texts made at random are read or refused; whatever is read is read again from what it is written as."""
    draw = random.Random(seed)
    for _ in range(400):
        text = "x" * draw.randrange(2) + "".join(draw.choices("x[]()='\",\\ 1a\x00\n", k=draw.randrange(14)))
        try:
            for part in split(text):
                for spec in expand(part):
                    assert Spec.one(str(spec)) == spec, text
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
