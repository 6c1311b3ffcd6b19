"""Rules for the scripts: what sbatch runs, and what calls ``ray up``."""

import re
from collections.abc import Iterator

from descant.run.clusters.render.violation import ASSIGNED_SECRET, Violation

_DIRECTIVE = re.compile(r"^#SBATCH --([a-z-]+)(?:=(\S+))?", re.M)
_DASHBOARD = re.compile(r"--dashboard-host[= ](\S+)")
_EXPORTED = re.compile(r"^\s*export RAY_AUTH_MODE=token\s*$", re.M)
_MASK = re.compile(r"^umask 077$", re.M)


def script_violations(text: str) -> list[Violation]:
    """Rules that one script breaks; comments do not count."""
    code = re.sub(r"^\s*#(?!SBATCH).*$", "", text, flags=re.M)
    found = [*_common(code)]
    if "#SBATCH" in code:
        found += _sbatch(code)
    return found


def _common(code: str) -> Iterator[Violation]:
    if not _EXPORTED.search(code):
        yield Violation("P-NO-AUTH", "script", "RAY_AUTH_MODE=token is not exported")
    if not _MASK.search(code):
        yield Violation("P-TOKEN-READABLE", "script", "no umask 077: others could read the token")
    if ASSIGNED_SECRET.search(code):
        yield Violation("P-SECRET-IN-ENV", "script", "a secret's value stands in it")


def _sbatch(code: str) -> Iterator[Violation]:
    directives = dict(_DIRECTIVE.findall(code))
    if "RAY_AUTH_TOKEN_PATH=" not in code or re.search(r"\bRAY_AUTH_TOKEN=", code):
        yield Violation(
            "P-NO-AUTH", "script", "the token is not taken from a file that RAY_AUTH_TOKEN_PATH names"
        )
    if _DASHBOARD.findall(code) != ["127.0.0.1"]:
        yield Violation("P-DASHBOARD-PUBLIC", "script", "the dashboard is not on 127.0.0.1")
    if "exclusive" not in directives:
        yield Violation(
            "P-SHARED-NODE", "#SBATCH", "no --exclusive: Ray's ports, and ray stop, meet other jobs"
        )
    if directives.get("export") != "NONE":
        yield Violation(
            "P-ENVIRONMENT", "#SBATCH", "no --export=NONE: your variables would travel with the job"
        )
    for key in ("time", "mem", "cpus-per-task"):
        if not directives.get(key):
            yield Violation("P-NO-LIMITS", "#SBATCH", f"no --{key}")
