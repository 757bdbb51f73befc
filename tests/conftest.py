"""What tests of every part may ask for."""

import signal
import sys
from pathlib import Path

import pytest

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"


def pytest_configure() -> None:
    """Let ^C reach the programs that tests start, also where the tests themselves run in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited, and handed on, unless it is set here
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `linux` elsewhere."""
    if item.get_closest_marker("linux") and sys.platform != "linux":
        pytest.skip("needs Linux")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real DICOM files that lies beside the project on some machines; mark its tests `corpus`."""
    if not CORPUS.is_dir():
        pytest.skip("the folder of real DICOM files (../shared/corpus) is not here")
    return CORPUS


@pytest.fixture
def vault_dir(tmp_path: Path) -> Path:
    """Where a test may put a vault: a path in a fresh folder, not made yet."""
    return tmp_path / "vault"


@pytest.fixture(scope="session")
def ct_small() -> Path:
    """A small real CT image that comes with pydicom."""
    return _pydicom_file("CT_small.dcm")


@pytest.fixture(scope="session")
def mr_small() -> Path:
    """A small real MR image that comes with pydicom."""
    return _pydicom_file("MR_small.dcm")


def _pydicom_file(name: str) -> Path:
    from pydicom.data import get_testdata_file

    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"pydicom does not bring {name}"
    return Path(path)
