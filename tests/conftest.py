"""What tests share: small simulated data, real data where it is, and quick options."""

import importlib.util
import os
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    """Skip what needs the library unifrac where neither it nor QIIME 2, which brings it, is."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if error.name == "unifrac" and importlib.util.find_spec("qiime2") is None:
            pytest.skip("the library unifrac, which comes with QIIME 2, is not installed")
        raise


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    """Close what Matplotlib has open after a test: q2-sample-classifier leaves figures open.

    Other plugins draw into the current figure, so a test would depend on those before it.
    """
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def real_data():
    """Return the directory of the real data sets, or skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data are not in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def simulated():
    """Return 48 simulated samples of 60 ASVs with 40 nt, whose sequences are the feature ids."""
    from q2_aam.core.data.simulate import SimulationConfig, simulate

    return simulate(SimulationConfig(n_samples=48, n_features=60, n_bp=40, depth=200, seed=1))


@pytest.fixture(scope="session")
def tree_path(simulated, tmp_path_factory):
    """Return the path of the simulated phylogeny."""
    path = tmp_path_factory.mktemp("tree") / "tree.nwk"
    path.write_text(simulated.newick)
    return path


@pytest.fixture
def quick():
    """Return options with which training takes a second."""
    return {
        "embedding_dim": 16,
        "attention_heads": 2,
        "attention_layers": 1,
        "epochs": 2,
        "rarefy_depth": 100,
        "lr": 1e-3,
        "device": "cpu",
    }
