"""Specifications: names with options, and grids of them."""

import pytest

from estbench.errors import UserError, nearest
from estbench.plugins.spec import Spec, expand, select, split


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("rloo", {}),
        ("rloo[]", {}),
        ("rloo[samples=4]", {"samples": 4}),
        ("rebar[temperature=0.5, scale=1e-3]", {"temperature": 0.5, "scale": 1e-3}),
        ("vae[latents=categorical,learn=True]", {"latents": "categorical", "learn": True}),
    ],
)
def test_one(text, options):
    """A name with options is read with numbers as numbers and words as words."""
    spec = Spec.one(text)
    assert spec == Spec(text.partition("[")[0], options)
    assert [type(value) for value in spec.options.values()] == [type(value) for value in options.values()]


@pytest.mark.parametrize("text", ["rloo", "rebar[scale=0.5,temperature=2]", "vae[learn=true,units=3]"])
def test_written_and_read(text):
    """A specification is written as it is read, options sorted."""
    assert str(Spec.one(text)) == text
    assert Spec.one(str(Spec.one(text))) == Spec.one(text)


def test_equal_specs_hash_alike():
    """The order of options makes no difference."""
    one, other = Spec("a", {"x": 1, "y": 2}), Spec("a", {"y": 2, "x": 1})
    assert one == other
    assert hash(one) == hash(other)
    assert one.params == other.params == '{"x": 1, "y": 2}'


def test_expand():
    """A grid is the product of its axes, the last the fastest."""
    found = [str(spec) for spec in expand("rebar[temperature=0.1,0.5,scale=1,2]")]
    assert found == [
        "rebar[scale=1,temperature=0.1]",
        "rebar[scale=2,temperature=0.1]",
        "rebar[scale=1,temperature=0.5]",
        "rebar[scale=2,temperature=0.5]",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected name or name"),
        ("rloo[samples=4", "expected name or name.*'rloo\\[samples=4'"),
        ("rloo samples", "expected name or name"),
        ("rloo[4]", "expected key=value in the brackets; got '4'"),
        ("rloo[samples=2,samples=4]", "'samples' is given twice"),
    ],
)
def test_malformed(text, reason):
    """What is not well formed is refused in one line with what was received."""
    with pytest.raises(UserError, match=reason) as error:
        list(expand(text))
    assert "\n" not in str(error.value)


def test_a_grid_is_not_one():
    """Where one specification is wanted a grid is refused."""
    with pytest.raises(UserError, match="got the grid"):
        Spec.one("rloo[samples=2,4]")


def test_split():
    """Commas inside brackets do not split."""
    assert split("a[x=1,2], b,,c[y=3]") == ["a[x=1,2]", "b", "c[y=3]"]


def test_select():
    """Patterns are comma-separated, take globs and grids, and each specification is chosen once."""
    known = ["arm", "arms", "disarm", "rloo"]
    assert [str(spec) for spec in select(["arm*,rloo[samples=2,4]", "arm"], known, "estimator")] == [
        "arm",
        "arms",
        "rloo[samples=2]",
        "rloo[samples=4]",
    ]


def test_select_unknown():
    """A pattern that matches nothing is refused with the nearest name."""
    with pytest.raises(UserError, match="unknown estimator 'rlo'; did you mean 'rloo'"):
        select(["rlo"], ["arm", "rloo"], "estimator")


@pytest.mark.parametrize(
    ("name", "known", "end"),
    [
        ("rlo", ["rloo", "arm"], "did you mean 'rloo'?"),
        ("xyz", ["b", "a"], "known: a, b"),
        ("x", [], "known: none"),
    ],
)
def test_nearest(name, known, end):
    """The nearest name is proposed, or all that there are."""
    assert nearest(name, known) == end
