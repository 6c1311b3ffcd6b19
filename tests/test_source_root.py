"""The folder platform/ is a source root and must never shadow the standard library's module."""

import platform
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_source_root_does_not_shadow_the_standard_library() -> None:
    assert Path(platform.__file__ or "").parent == Path(sysconfig.get_paths()["stdlib"])
    assert not (ROOT / "platform" / "__init__.py").exists()
