"""A pipeline run step by step in a test: what a job does, without a recipe, a command and tracking."""

from descant.artifacts.store import Artifact, Store
from descant.run.profile import Profile
from descant.stages.base import StageContext, Step, in_order, silent


def made(target: Step, store: Store, profile: Profile) -> dict[str, Artifact]:
    """The results of ``target`` and of everything it needs, by label; those the store holds are not made again."""
    done: dict[str, Artifact] = {}
    for step in in_order([target]):
        found = store.find(step.stage.name, step.fingerprint)
        done[step.label] = found or _run(step, done, store, profile)
    return done


def _run(step: Step, done: dict[str, Artifact], store: Store, profile: Profile) -> Artifact:
    stage = step.stage
    inputs = {name: done[upstream.label] for name, upstream in step.inputs.items()}
    with store.draft(
        stage.name, stage.version, step.fingerprint, step.label, stage, step.input_addresses
    ) as draft:
        outcome = stage.run(StageContext(draft, inputs, profile.for_stage(stage), silent))
        return draft.finish(outcome.names, outcome.facts)
