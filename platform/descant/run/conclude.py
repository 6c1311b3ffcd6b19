"""What follows when every step of a job is done: its model goes into the registry, once."""

from descant.artifacts.manifest import address_of
from descant.artifacts.store import Artifact, Store
from descant.evaluators.statistics import paired_test
from descant.run.gate import Evidence
from descant.run.job import Recipe, RegisterModel, Results
from descant.run.plan import Plan
from descant.run.registry import register
from descant.run.runs import JobRun
from descant.stages.evaluate import evaluation_of
from descant.stages.evaluate_task import scores_by_id
from descant.stages.score_text import ScoreText

STAGE, VERSION = "register", 1


def registered_before(recipe: Recipe, plan: Plan, store: Store) -> Artifact | None:
    """The record of this very registration: same model, same evaluations, same name."""
    wanted = recipe.job.registration()
    return None if wanted is None else store.find(STAGE, _address(wanted, plan)[0])


def register_result(recipe: Recipe, results: Results, plan: Plan, tracked: JobRun, *, force: bool) -> None:
    """Register what the job asks for and keep a record of it in the store; does nothing when it asks for nothing."""
    wanted = recipe.job.registration()
    if wanted is None:
        return
    fingerprint, spec, inputs = _address(wanted, plan)
    store = results.store
    if store.find(STAGE, fingerprint) is not None and not force:
        return
    model, system = results.artifacts[wanted.trained], results.artifacts[wanted.system]
    baseline = results.artifacts[wanted.baseline]
    is_text = system.manifest.stage == ScoreText.name
    version = register(
        tracked,
        model.path("model" if is_text else "retriever"),
        wanted.name,
        lineage=_lineage(recipe, system, store),
        evidence=(_text_evidence if is_text else _evidence)(wanted, system, baseline),
        paired_test=paired_test,
        force=force,
    )
    facts = {
        "uri": version.uri,
        "promotion": version.tags.get("promotion", ""),
        "aliases": list(version.aliases),
    }
    if store.find(STAGE, fingerprint) is None:
        with store.draft(STAGE, VERSION, fingerprint, f"register {wanted.name}", spec, inputs) as draft:
            draft.finish([], facts)


def _address(wanted: RegisterModel, plan: Plan) -> tuple[str, dict[str, str], dict[str, str]]:
    steps = {role: plan.targets[getattr(wanted, role)] for role in ("trained", "system", "baseline")}
    inputs = {role: f"{step.stage.name}/{step.fingerprint}" for role, step in steps.items()}
    spec = {"name": wanted.name, "measure": wanted.measure}
    return address_of(STAGE, VERSION, spec, inputs), spec, inputs


def _lineage(recipe: Recipe, system: Artifact, store: Store) -> dict[str, str]:
    """What the model's folder does not know about itself."""
    is_text = system.manifest.stage == ScoreText.name
    address, split = system.manifest.inputs["texts" if is_text else "data"], system.manifest.spec["split"]
    data = store.find(*address.split("/"))
    assert data is not None
    judged = {} if is_text else {"qrels_sha256": data.part(f"judgements-{split}").sha256}
    return {
        "recipe": str(recipe.path),
        "recipe_sha256": recipe.digest,
        "job": recipe.job_name,
        "seed": str(recipe.job.seed),
        "data": address,
        "data_digest": data.manifest.digest,
        "evaluation": system.address,
        "split": split,
        **judged,
    }


def _evidence(wanted: RegisterModel, system: Artifact, baseline: Artifact) -> Evidence:
    mine, base = evaluation_of(system, wanted.system), evaluation_of(baseline, wanted.baseline)
    facts = system.manifest.facts
    return Evidence(
        task=system.manifest.inputs["data"],
        measure=wanted.measure,
        scores=dict(zip(mine.query_ids, map(float, mine.scores[wanted.measure]), strict=True)),
        base_scores=dict(zip(base.query_ids, map(float, base.scores[wanted.measure]), strict=True)),
        intervals={name: (facts[name], facts[f"{name}_low"], facts[f"{name}_high"]) for name in mine.scores},
    )


def _text_evidence(wanted: RegisterModel, system: Artifact, baseline: Artifact) -> Evidence:
    """Of held-out texts, each by itself; fewer bits are better."""
    facts, name = system.manifest.facts, wanted.measure
    return Evidence(
        task=system.manifest.inputs["texts"],
        measure=name,
        scores=scores_by_id(system, name),
        base_scores=scores_by_id(baseline, name),
        intervals={name: (facts[name], facts[f"{name}_low"], facts[f"{name}_high"])},
        higher_is_better=False,
    )
