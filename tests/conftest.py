import pytest
import torch

# small tensors gain nothing from threads, and lose much where the cores are busy
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _without_gpu(request, monkeypatch):
    """A test that needs no GPU sees none, and the commands that it starts neither: it is the same everywhere."""
    if torch.cuda.is_available() and not request.node.get_closest_marker("cuda"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def pytest_collection_modifyitems(items):
    """Tests that need a GPU are skipped, with the reason, where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
