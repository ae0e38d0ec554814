"""Checks that do not apply, as far as an estimator's declarations say: decided before anything is measured.

Each function says why, and is empty where the check applies.
"""

from estbench.testing.programs import RECIPES, Recipe
from estbench.testing.subject import Subject


def never(_subject: Subject) -> str:
    """It applies to every estimator."""
    return ""


def biased(subject: Subject) -> str:
    """It is for what is declared unbiased."""
    return "" if subject.declared.unbiased else "it declares itself biased"


def unbiased(subject: Subject) -> str:
    """It is for what is declared biased."""
    return "it declares itself unbiased" if subject.declared.unbiased else ""


def exact_samples(subject: Subject) -> str:
    """It is for what declares inexact samples."""
    return "it declares exact samples" if subject.declared.exact_samples else ""


def coupled(subject: Subject) -> str:
    """It is for what treats each example by itself."""
    return "it declares that it couples the examples of a batch" if subject.declared.couples_examples else ""


def all_accepted(subject: Subject) -> str:
    """It is for what does not accept some kind of node."""
    accepts = subject.declared.accepts
    return "it accepts every kind of node" if all(recipe.accepted(accepts) for recipe in RECIPES) else ""


def other_program(subject: Subject, recipe: Recipe) -> str:
    """It is for what is checked on this net."""
    if recipe in subject.recipes:
        return ""
    if recipe.accepted(subject.declared.accepts):
        return "it is checked on the like program of bits"
    kinds = ", ".join(sorted({layer.kind.__name__ for layer in recipe.layers}))
    return f"it does not accept {kinds} nodes"


def biased_or_other_program(subject: Subject, recipe: Recipe) -> str:
    """It is for what is declared unbiased and checked on this net."""
    return biased(subject) or other_program(subject, recipe)
