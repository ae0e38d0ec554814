"""Every measure on the tasks with sequences, gates, subsets and codebooks: small instances, few steps."""

import pytest

import estbench

GROUPS = {
    "sequence_policy[hidden=4]": {"logits", "logits/token1", "logits/token2", "logits/token3", "policy"},
    "sequence_policy[hidden=4,steps=2,policy=gru]": {"logits", "logits/token1", "logits/token2", "policy"},
    "mixture_of_experts[experts=3,hidden=3,batch_size=10]": {"logits", "gate", "experts"},
    "mixture_of_experts[experts=4,chosen=2,hidden=3,batch_size=10]": {"logits", "gate", "experts"},
    "vq_vae[codes=3,dimensions=2,hidden=4,batch_size=10]": {"logits", "encoder", "codebook", "decoder"},
}
CERTAIN = "vq_vae[codes=3,dimensions=2,hidden=4,batch_size=10,quantisation=rotation]"


def measured(task, store, steps):
    measures = [
        "gradient[after=0,replicates=64,groups=all]",
        "speed[blocks=6]",
        f"training[steps={steps},evaluations=2]",
    ]
    return estbench.compare(task, "rloo[samples=2]", measures, 2, store=store, executor="inline", ensemble=2)


@pytest.mark.long
@pytest.mark.parametrize("task", GROUPS)
def test_every_measure_works(task, tmp_path):
    """Gradients have every group, seeds train as one batch, a longer training goes on, and a report is written."""
    first = measured(task, tmp_path / "store", 4)
    rows = first.frame()
    assert not (rows["status"] == "failed").any(), rows[rows["status"] == "failed"]["error"].tolist()
    found = {m.partition("/")[2] for m in rows["metric"] if m.startswith("variance/")}
    assert found >= GROUPS[task]
    trained = rows[rows["measure"] == "training"]
    assert set(trained["replicas"]) == {2}
    assert (rows["metric"] == "peak_memory").any()
    longer = measured(task, tmp_path / "store", 8).frame()
    again = longer[(longer["measure"] == "training") & (longer["step"] == 8)]
    assert len(again) == len(trained[trained["step"] == 4])
    first.report(tmp_path / "report")
    assert (tmp_path / "report" / "index.html").exists()


def test_nearest_codes_have_nothing_to_be_biased_against(tmp_path):
    """The measure gradient is not applicable to certain codes, and says why; speed and training are measured."""
    rows = measured(CERTAIN, tmp_path, 4).frame()
    assert not (rows["status"] == "failed").any()
    (gradient,) = rows[(rows["measure"] == "gradient")].to_dict("records")
    assert gradient["status"] == "not applicable"
    assert "no expectation" in gradient["error"]
    assert {"speed", "training"} <= set(rows[rows["status"] == "ok"]["measure"])
