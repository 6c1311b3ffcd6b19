"""The step that chooses examples, behind the encoding of queries where its selector compares vectors."""

from descant.models.encoder import EncoderSpec
from descant.stages.base import Step
from descant.stages.embed import EmbedQueries
from descant.stages.mine_examples import MineExamples


def mined(label: str, stage: MineExamples, data: Step, *, encoder: EncoderSpec, task: str) -> Step:
    """``stage`` over ``data``; queries are compared as ``encoder`` has them, without training or examples."""
    inputs = {"data": data}
    if stage.selector.needs_vectors:
        for split in sorted({"train", *stage.splits}):
            queries = EmbedQueries(encoder=encoder, split=split)
            inputs[f"vectors_{split}"] = Step(
                f"embed {task} {split} queries to mine", queries, {"data": data}
            )
    return Step(label, stage, inputs)
