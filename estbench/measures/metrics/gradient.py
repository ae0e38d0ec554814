"""The metrics of the measure ``gradient``; docs/reference/results.md says how each is made."""

from dataclasses import replace
from functools import partial

from estbench.core.metrics import Metric

_logits = partial(Metric, group="logits", told=False, tracked=False, log=True)
_asked = partial(_logits, show="asked")
_rows = partial(Metric, show="none", told=False, tracked=False)
_BIAS = "Distance of the mean gradient from the exact one"

_COMMON = (
    _logits(
        "relative_bias/{group}", "Relative bias", "%", "lower", interval="bound", test="unbiased_p/{group}",
        unbiased=True, about=f"{_BIAS}, over the length of the exact one.",
    ),
    _asked("bias/{group}", "Bias", "", "lower", interval="bound", test="unbiased_p/{group}", unbiased=True,
           about=f"{_BIAS}."),
    _logits("variance/{group}", "Variance", "", "lower", tracked=True, rank=1, unbiased=True,
            about="Trace of the covariance of one gradient estimate."),
    _asked("mse/{group}", "Mean squared error", "", "lower", about="Variance plus squared bias."),
    _asked("snr/{group}", "Signal to noise", "", "higher",
           about="Length of the mean gradient over the root of the variance."),
    _asked("cosine/{group}", "Cosine", "", "higher", log=False, about="Between the mean gradient and the exact one."),
    Metric("value_bias", "Bias of the value", show="page", told=False, tracked=False,
           about="Mean of the estimator's value, the cost that training reports, minus the exact objective."),
    Metric("evaluations", "Evaluations", "", "lower", log=True, show="asked", told=False,
           about="Evaluations of the cost per example and estimate."),
    Metric(
        "evaluation_variance", "Variance × evaluations", "", "lower", log=True, show="asked", told=False,
        tracked=False, product=("variance", "evaluations"), unbiased=True,
        about="Variance times the evaluations of the cost: the variance at equal evaluations.",
    ),
    Metric(
        "work_variance", "Variance × time", "", "lower", log=True, show="page", told=False, tracked=False,
        product=("variance", "gradient_time"), unbiased=True,
        about="Variance times the seconds of one gradient: the variance of a second's work.",
    ),
    Metric(
        "relative_bias/encoder", "Relative bias, encoder", "%", "lower", log=True, interval="bound", show="asked",
        told=False, tracked=False, test="unbiased_p/encoder", unbiased=True,
        about="The same of the encoder's parameters.",
    ),
    Metric("variance/encoder", "Variance, encoder", "", "lower", log=True, show="asked", told=False, unbiased=True,
           about="The same of the encoder's parameters."),
    _rows("squared_bias/{group}", "Squared bias", "", "lower"),
    _rows("unbiased_p/{group}", "p-value of no bias", interval="none"),
    _rows("variance_per_coordinate/{group}", "Variance per coordinate", "", "lower", log=True),
    _rows("log_variance_per_coordinate/{group}", "Logarithm of the variance per coordinate", "", "lower"),
    _rows("total_variance/{group}", "Total variance", "", "lower", log=True),
    _rows("sampling_variance/{group}", "Variance of sampling", "", "lower", log=True),
    _rows("minibatch_variance/{group}", "Variance of minibatches"),
    _rows("total_variance_per_coordinate/{group}", "Total variance per coordinate", "", "lower", log=True),
    _rows("log_total_variance_per_coordinate/{group}", "Logarithm of the total variance per coordinate", "", "lower"),
    _rows("replicates_needed/{group}", "Replicates needed", interval="none"),
    _rows("precision/{group}", "Precision", interval="none"),
    _rows("precision_reached/{group}", "Precision reached", interval="none"),
    _rows("chunk/{group}", "Replicates at once", interval="none"),
    _rows("note", "How replicates were drawn", interval="none"),
)  # fmt: skip

# what the keys of values along a training of each estimator's own begin with
OWN = "own/"
# the same along a training of each estimator's own: at different parameters, so that no table compares them
_OWN = tuple(
    replace(metric, key=f"{OWN}{metric.key}", test=metric.test and f"{OWN}{metric.test}", show="none", tracked=False,
            group="", rank=0)
    for metric in _COMMON
    if not metric.product
)  # fmt: skip

METRICS = (*_COMMON, *_OWN)
