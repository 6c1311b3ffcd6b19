"""What no rendered file may contain. ``render`` holds its own files against this before it writes any.

Rules look at parsed files and know nothing of what wrote them, so an edited file can be checked too. They are about
mistakes, not about hiding: whoever wants to get around them can.
"""

from collections.abc import Mapping
from pathlib import PurePath

import yaml

from descant.core.errors import PolicyError
from descant.run.clusters.render.policy_kubernetes import kubernetes_violations
from descant.run.clusters.render.policy_launcher import launcher_violations
from descant.run.clusters.render.policy_script import script_violations
from descant.run.clusters.render.violation import Violation
from descant.run.clusters.render.work import PROFILE, RECIPE


def violations(files: Mapping[str, str]) -> list[Violation]:
    """Every rule that one of ``files`` (name to content) breaks; recipe and profile are not looked at."""
    found: list[Violation] = []
    for name, text in files.items():
        if name in (RECIPE, PROFILE):
            continue
        if PurePath(name).suffix in (".sh", ".sbatch"):
            broken = script_violations(text)
        else:
            documents = [document for document in yaml.safe_load_all(text) if document is not None]
            is_launcher = any("cluster_name" in document for document in documents)
            broken = launcher_violations(documents[0]) if is_launcher else kubernetes_violations(documents)
        found += [Violation(each.rule, f"{name}: {each.where}", each.problem) for each in broken]
    return found


def check(files: Mapping[str, str]) -> None:
    """Raise PolicyError with every rule that is broken, where, and what was found."""
    found = violations(files)
    if found:
        lines = [f"{each.rule} {each.where}: {each.problem}" for each in found]
        raise PolicyError(
            "E-CLU-POLICY",
            f"{len(found)} rule{'s' if len(found) > 1 else ''} broken",
            "\n  ".join(["", *lines]),
            "Nothing was written.",
        )
