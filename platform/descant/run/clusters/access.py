"""How a running cluster is reached."""

import ipaddress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from descant.artifacts.bucket import checked_url, is_url
from descant.core.spec import Compute


class Access(Compute):
    """Where a running cluster answers, and what stands where on it."""

    url: str = Field(pattern=r"^https?://[^\s/@]+/?$")
    """Of its dashboard and Jobs API, without a password. Plain http only on the loopback address, where a tunnel such
    as ``kubectl port-forward`` or ``ssh -L`` ends."""
    token_file: Path
    """File with the cluster's token, mode 0600; ``~`` is the user's home."""
    store: str
    """Where results live: a folder on a disk that all of its nodes share, or a URL such as ``s3://bucket/prefix``."""
    data: Path | None = None
    """What DESCANT_DATA is on its nodes."""
    python: str = "python"
    """The interpreter on its head that has descant's requirements."""

    @field_validator("store")
    @classmethod
    def _folder_or_url(cls, store: str) -> str:
        if is_url(store):
            return checked_url(store)
        cls._absolute(Path(store))
        return store

    @field_validator("data")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            raise ValueError(f"is '{path}', expected an absolute path on the cluster's nodes")
        return path

    @model_validator(mode="after")
    def _token_is_not_sent_in_the_clear(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            raise ValueError(
                f"url {self.url} would send the token in the clear: expected https, or a tunnel that ends on 127.0.0.1"
            )
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
