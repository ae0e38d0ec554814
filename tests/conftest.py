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


# rooms whose tests start processes, and so take long one by one
LONGEST = {"workflows", "docs", "store", "execution"}


def pytest_collection_modifyitems(items):
    """Long tests come first, so that no worker ends with one; what needs a GPU is skipped where there is none."""
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@pytest.fixture
def svg_only(monkeypatch):
    """Reports that commands write in this process have figures as SVG alone, for tests that do not look at them."""
    # it imports matplotlib
    from tests.support.figures import draw_only_svg

    draw_only_svg(monkeypatch)


@pytest.fixture(scope="module")
def svg_only_in_module():
    """As ``svg_only``, for fixtures of a module."""
    from tests.support.figures import draw_only_svg

    with pytest.MonkeyPatch.context() as patch:
        draw_only_svg(patch)
        yield


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a package with entry points where Python finds it, as if it had been installed."""

    def installed(package, group, points, module="", text=""):
        place = tmp_path / package
        info = place / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        if module:
            (place / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(place)

    return installed
