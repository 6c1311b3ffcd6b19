"""Ray's HTTP interface of one cluster, asked with its token."""

from __future__ import annotations

import http.client
import json
import os
import stat
import urllib.error
import urllib.request
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
        request = urllib.request.Request(f"{self.url}/{path}")
        request.add_unredirected_header("Authorization", f"Bearer {read_token(self.token)}")
        try:
            with _OPENER.open(request, timeout=self.patience) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code in REFUSED:
                raise _refused(self) from None
            raise self._away(f"answers {error.code} to {path}") from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise self._away(f"no answer ({getattr(error, 'reason', error)})") from None
        except ValueError:
            raise self._away(f"answers {path} with something that is no JSON") from None

    def _away(self, problem: str) -> DependencyError:
        return DependencyError(
            "E-CLU-AWAY", self.url, problem, "Nothing was changed. Is it up? See: descant cluster status"
        )


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
