"""Why a check does not apply to an estimator, as far as the estimator's declarations tell, before anything is measured.

Each function returns the reason in words, or an empty text where the check applies.
"""

from estbench.testing.programs import RECIPES, Recipe
from estbench.testing.subject import Subject


def never(_subject: Subject) -> str:
    """Excludes no estimator."""
    return ""


def biased(subject: Subject) -> str:
    """Excludes estimators that declare themselves biased."""
    return "" if subject.declared.unbiased else "it declares itself biased"


def unbiased(subject: Subject) -> str:
    """Excludes estimators that declare themselves unbiased."""
    return "it declares itself unbiased" if subject.declared.unbiased else ""


def exact_samples(subject: Subject) -> str:
    """Excludes estimators that declare exact samples."""
    return "it declares exact samples" if subject.declared.exact_samples else ""


def coupled(subject: Subject) -> str:
    """Excludes estimators that declare that they couple the examples of a batch."""
    return "it declares that it couples the examples of a batch" if subject.declared.couples_examples else ""


def all_accepted(subject: Subject) -> str:
    """Excludes estimators that accept every kind of node."""
    accepts = subject.declared.accepts
    return "it accepts every kind of node" if all(recipe.accepted(accepts) for recipe in RECIPES) else ""


def other_program(subject: Subject, recipe: Recipe) -> str:
    """Excludes estimators that are not checked on this net."""
    if recipe in subject.recipes:
        return ""
    accepts = subject.declared.accepts
    if recipe.accepted(accepts):
        return "it is checked on the same program with bits instead"
    refused = {layer.kind.__name__ for layer in recipe.layers if not issubclass(layer.kind, accepts)}
    return f"it does not accept {', '.join(sorted(refused))} nodes"


def biased_or_other_program(subject: Subject, recipe: Recipe) -> str:
    """Excludes estimators that declare themselves biased, and those that are not checked on this net."""
    return biased(subject) or other_program(subject, recipe)
