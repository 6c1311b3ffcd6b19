"""When, and how fast, the embeddings of a model train beside the rest of it."""

from collections.abc import Iterable, Mapping

import torch

from descant.stages.training.settings import TextTrainSettings


def embedding_rates(
    embeddings: Iterable[torch.nn.Parameter], settings: TextTrainSettings
) -> Mapping[torch.nn.Parameter, float]:
    """The embeddings' own peak learning rate, where they have one."""
    rate = settings.embeddings_learning_rate
    return {} if rate is None else dict.fromkeys(embeddings, rate)


def embeddings_first(
    embeddings: Iterable[torch.nn.Parameter],
    settings: TextTrainSettings,
    module: torch.nn.Module,
    *,
    num_steps: int,
) -> Mapping[torch.nn.Parameter, int]:
    """The step that all other parameters of ``module`` wait for, where the embeddings go first."""
    step = round(settings.embeddings_first * num_steps)
    waited_for = {id(one) for one in embeddings}
    return {p: step for p in module.parameters() if step and id(p) not in waited_for}
