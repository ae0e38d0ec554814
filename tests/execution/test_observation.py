import pytest
import torch

from estbench.execution.observation import marked, observed
from estbench.runtime.process_state import settle
from estbench.store.records import Result

ROW = {
    "task": "toy", "params": "{}", "chosen": "{}", "seed": 0, "device": "cpu", "dtype": "float32", "measure": "speed",
    "metric": "step_time", "step": 0, "seconds": 1.0, "value": 1.0, "low": 1.0, "high": 1.0, "unit": "s", "n": 6,
    "status": "ok", "error": "", "picture": "", "replicas": 1, "reference": False,
}  # fmt: skip


def result(*estimators):
    rows = [{**ROW, "estimator": name} for name in estimators for _ in range(2)]
    return Result.of(rows, {"cell": {"estimators": list(estimators)}, "note": ""})


def test_what_code_of_others_changes_is_named_and_put_back():
    """Also where it raises; the next one starts from what was there before."""
    settle()
    with observed(foreign=True) as altered:
        torch.set_default_dtype(torch.float64)
    assert altered == ["torch's default dtype"]
    assert torch.get_default_dtype() == torch.float32
    with pytest.raises(RuntimeError), observed(foreign=True) as altered:
        _grad_mode_and_raise()
    assert altered == ["torch's grad mode"]
    assert torch.is_grad_enabled()


def _grad_mode_and_raise():
    torch.set_grad_enabled(False)
    raise RuntimeError


def test_our_own_code_is_not_looked_at():
    """No cell of built-in plugins pays for it."""
    with observed(foreign=False) as altered:
        torch.set_grad_enabled(False)
    torch.set_grad_enabled(True)
    assert altered == []


def test_a_result_says_what_was_changed():
    """The figures of an estimator alone stay, with a note; those of several that were measured in turns have failed."""
    (alone,) = marked([result("mine")], ["torch.randn"])
    assert alone.status == "ok"
    assert "changed torch.randn" in alone.about["note"]
    (beside,) = marked([result("mine", "rloo")], ["torch.randn"])
    assert [(row["estimator"], row["status"], row["error"]) for row in beside.table.to_pylist()] == [
        (name, "failed", "code that was measured beside it changed torch.randn") for name in ("mine", "rloo")
    ]
    assert marked([result("mine")], []) == (result("mine"),)
