import os
from pathlib import Path

import pytest


@pytest.fixture
def language_data() -> Path:
    """The folder of the evaluation sets in other languages; the test is skipped without it."""
    folder = Path(os.environ.get("DESCANT_DATA", "")) / "lang-eval"
    if not folder.is_dir():
        pytest.skip("DESCANT_DATA names no data packs with evaluation sets in other languages")
    return folder
