import pytest
import torch

# small tensors gain nothing from threads, and lose much where the cores are busy
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Tests that need a GPU are skipped, with the reason, where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
