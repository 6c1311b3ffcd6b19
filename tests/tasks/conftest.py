import os
from pathlib import Path

import pytest


@pytest.fixture
def data_folder() -> Path:
    """The folder of the data packs; the test is skipped without it."""
    folder = Path(os.environ.get("DESCANT_DATA", ""))
    if not (folder / "math").is_dir():
        pytest.skip("DESCANT_DATA names no data packs with mathematics")
    return folder
