"""Ray's HTTP interface of one cluster, asked with its token."""

from __future__ import annotations

import http.client
import json
import os
import stat
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descant.core.errors import DependencyError, PolicyError

REFUSED = (401, 403)


@dataclass(frozen=True)
class ClusterApi:
    """The interface at ``url``, for whoever has the token in the file ``token``."""

    url: str
    token: Path
    patience: float = 10.0
    """Seconds to wait for an answer at most."""

    def get(self, path: str) -> Any:
        """The JSON at ``path``.

        Raises PolicyError where the token is refused or others can read its file, DependencyError where nothing
        answers in time, or not in JSON.
        """
        return self._json(path, self._ask("GET", path))

    def has(self, path: str) -> bool:
        """Whether there is anything at ``path``. Raises what ``get`` raises."""
        return self._ask("GET", path, may_be_missing=True) is not None

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer in JSON to ``body``, sent as JSON. Raises what ``get`` raises."""
        data = json.dumps(body).encode()
        return self._json(path, self._ask("POST", path, data, {"Content-Type": "application/json"}))

    def put(self, path: str, data: bytes) -> None:
        """Leave ``data`` at ``path``. Raises what ``get`` raises."""
        self._ask("PUT", path, data, {"Content-Type": "application/octet-stream"})

    def headers(self) -> dict[str, str]:
        """What shows the token. Raises what ``read_token`` raises."""
        return {"Authorization": f"Bearer {read_token(self.token)}"}

    def away(self, problem: str, remedy: str = "See: descant cluster status") -> DependencyError:
        """The error of a cluster that does not do what it should."""
        return DependencyError("E-CLU-AWAY", self.url, problem, f"Nothing was changed. {remedy}")

    def _ask(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        may_be_missing: bool = False,
    ) -> bytes | None:
        request = urllib.request.Request(f"{self.url}/{path}", data, dict(headers or {}), method=method)
        for name, value in self.headers().items():
            request.add_unredirected_header(name, value)
        try:
            with _OPENER.open(request, timeout=self.patience) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code in REFUSED:
                raise _refused(self) from None
            if error.code == 404 and may_be_missing:
                return None
            raise self.away(f"answers {error.code} to {path} ({_last_line(error)})") from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise self.away(f"no answer ({getattr(error, 'reason', error)})") from None

    def _json(self, path: str, answer: bytes | None) -> Any:
        try:
            return json.loads(answer or b"")
        except ValueError:
            raise self.away(f"answers {path} with something that is no JSON") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token is for the one who was asked."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def read_token(path: Path) -> str:
    """The token in ``path``; PolicyError where anyone but the owner can read it, DependencyError where it is not."""
    try:
        with path.open() as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise PolicyError(
                    "E-CLU-TOKEN",
                    str(path),
                    f"its mode is {mode:04o}: others on this machine can read the token, expected 0600",
                    f"Nothing was sent. Run: chmod 600 {path}, and start the cluster anew with another token.",
                )
            return stream.read().strip()
    except OSError as error:
        raise DependencyError(
            "E-CLU-TOKEN", str(path), f"{error.strerror}, expected the cluster's token", "Nothing was sent."
        ) from None


def _refused(api: ClusterApi) -> PolicyError:
    return PolicyError(
        "E-CLU-REFUSED",
        api.url,
        f"the token in {api.token} is refused",
        "Nothing was changed. Put the cluster's own token there.",
    )


def _last_line(error: urllib.error.HTTPError) -> str:
    """Of what stands in an answer, which may be a whole trace of the server's."""
    lines = error.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "without a word"
