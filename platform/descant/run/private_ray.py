"""What every Ray that descant starts has in common: a folder of its own, a token, quiet and safe settings."""

import os
import secrets
import tempfile
from pathlib import Path

from descant.core.errors import PolicyError

UNSAFE = (
    "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA",
    "RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR",
    "RAY_DATA_WEBDATASET_ALLOW_UNSAFE_DESERIALIZATION",
)

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # the driver's C++ log goes to the terminal
}

PREFIX = "descant-ray-"
INNER = "r"
"""Ray's own folder inside one of ours: Ray opens its folder to everyone (mode 0777), and ours keeps them out."""
MOST_TEMPORARY_BYTES = 18
"""A longer temporary folder makes the paths of Ray's sockets longer than the 107 bytes that Linux allows."""


def refuse_unsafe_environment() -> None:
    """Raise PolicyError when Ray Data is told to unpickle what it finds in data files."""
    for name in UNSAFE:
        if os.environ.get(name):
            raise PolicyError(
                "E-POL-AUTOLOAD",
                name,
                "lets a data file run code on every worker",
                "Nothing was started. Unset it.",
            )


def temporary_folder() -> Path:
    """Where Ray's folders may lie: the temporary folder, or ``/tmp`` where its path is too long for sockets."""
    temporary = Path(tempfile.gettempdir())
    return temporary if len(os.fsencode(temporary)) <= MOST_TEMPORARY_BYTES else Path("/tmp")


def new_folder() -> Path:
    """A new folder for one Ray, with mode 0700."""
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=temporary_folder()))


def token_environment(path: Path) -> dict[str, str]:
    """Write a new token of 256 bits to ``path``, mode 0600, and say what makes Ray ask for it and send it.

    Raises FileExistsError where there is one.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(32))
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}
