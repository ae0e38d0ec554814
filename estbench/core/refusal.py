"""The refusal of estimators and nodes: what cannot be done as a matter of principle."""


class NotApplicableError(ValueError):
    """The estimator cannot be applied to this program, as a matter of principle; the message says why."""
