"""Write the rendered clusters anew: ``make golden``."""

import sys
from pathlib import Path

from descant.run.clusters.render.render import render, write
from descant.run.clusters.render.work import PROFILE, RECIPE

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "clusters"
SMOKE = ROOT / "jobs" / "recipes" / "finetune_retriever" / "smoke.yaml"
CLUSTERS = ("kuberay", "slurm", "aws", "gcp")


def rendered(name: str) -> dict[str, str]:
    """The files for the smoke recipe on the shipped cluster ``name``, without the copies of recipe and profile."""
    files = render(ROOT / "clusters" / name, SMOKE)
    return {file: text for file, text in files.items() if file not in (RECIPE, PROFILE)}


def main() -> None:
    """The smoke recipe on every cluster that is shipped."""
    for name in CLUSTERS:
        write(rendered(name), GOLDEN / name)
        sys.stdout.write(f"{GOLDEN / name}\n")


if __name__ == "__main__":
    main()
