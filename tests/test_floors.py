"""Who may import whom: every import in the package is parsed and held against the floors of the design."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "platform" / "descant"
FLOORS = {
    "core": 0,
    "artifacts": 1,
    "data": 2,
    "tasks": 2,
    "models": 2,
    "indexes": 2,
    "selection": 2,
    "vocab": 2,
    "adapters": 2,
    "losses": 2,
    "evaluators": 2,
    "stages": 3,
    "run": 4,
    "cli": 5,
}
SIDEWAYS = {
    ("selection", "indexes"),
    ("tasks", "data"),
    ("models", "data"),
    ("models", "adapters"),
    ("evaluators", "models"),
    ("evaluators", "data"),
}
LIBRARIES = {"ray": 3, "mlflow": 4, "torch": 2, "transformers": 2, "peft": 2, "faiss": 2, "pyarrow": 1}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_from_its_floor_and_below(path: Path) -> None:
    here = room(path)
    if here == "testing":
        return
    for name, line in imports(path):
        where = f"{path.relative_to(PACKAGE)}:{line}"
        top, *rest = name.split(".")
        if top == "descant" and rest:
            there = rest[0]
            assert there != "testing", f"{where} imports testing"
            if there == here:
                continue
            assert FLOORS[there] < FLOORS[here] or (here, there) in SIDEWAYS, (
                f"{where} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"
            )
        elif top in LIBRARIES:
            assert FLOORS[here] >= LIBRARIES[top], f"{where} (floor {FLOORS[here]}) imports {top}"


def test_planning_imports_no_heavy_library() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from descant.run.job import load_recipe; from descant.run.plan import make_plan, plan_table\n"
        "from descant.run.profile import load_profile; from descant.artifacts.store import Store\n"
        "recipe = load_recipe(Path('jobs/recipes/finetune_retriever/smoke.yaml'))\n"
        "store, profile = Store('/nonexistent/store'), load_profile(Path('clusters/local'))\n"
        "plan_table(make_plan(recipe.job, store, profile))\n"
        "heavy = {'torch', 'transformers', 'peft', 'ray', 'mlflow', 'deepspeed', 'faiss', 'bm25s'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
