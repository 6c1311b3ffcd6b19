"""A registered model for plain MLflow: ``mlflow.pyfunc.load_model("models:/NAME@champion")``; no pickle.

MLflow imports this module by its name in the version's ``MLmodel`` file. Loaded so, a model checks its base
and its adapter; only ``descant.run.registry.load`` checks every file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from descant.core.errors import ConfigError
from descant.run.versions import CAUSAL, CLASSIFIER, RETRIEVER

if TYPE_CHECKING:
    from descant.models.causal import CausalModel
    from descant.models.classify import Classifier
    from descant.models.retriever import Retriever

SIDES = ("query", "document")
NEW_TOKENS = 64


class PyfuncRetriever:
    """What MLflow calls; ``unwrap_python_model()`` gives the ``python_model``, a ``Retriever``."""

    def __init__(self, retriever: Retriever) -> None:
        self.python_model = retriever

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """float32 [texts, dim] of unit length for a list of texts or a table whose first column holds them.

        The parameter ``side`` is ``query`` (the default) or ``document``; ConfigError for any other.
        """
        side = (params or {}).get("side", "query")
        if side not in SIDES:
            raise ConfigError(
                "E-REG-SIDE", repr(side)[:100], f"expected one of {SIDES}", "Nothing was encoded."
            )
        texts = [row[0] for row in _rows(model_input)]
        if side == "query":
            return self.python_model.encode_queries(texts)
        return self.python_model.encode_documents(texts)


class PyfuncClassifier:
    """What MLflow calls; ``unwrap_python_model()`` gives the ``python_model``, a ``Classifier``."""

    def __init__(self, classifier: Classifier) -> None:
        self.python_model = classifier

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """float32 [rows, labels], the logits, for a list of texts or image files, or a table of texts or pairs."""
        pairs = [row if len(row) == 2 else row[0] for row in _rows(model_input)]
        return self.python_model.logits(pairs)


class PyfuncCausal:
    """What MLflow calls; ``unwrap_python_model()`` gives the ``python_model``, a ``CausalModel``."""

    def __init__(self, model: CausalModel) -> None:
        self.python_model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[str]:
        """The most probable continuation, token by token, of each prompt: at most ``max_new_tokens`` (64)."""
        import torch

        model, most = self.python_model, int((params or {}).get("max_new_tokens", NEW_TOKENS))
        found = []
        for (prompt,) in _rows(model_input):
            ids = model.encode_prompt(prompt, max_tokens=model.spec.max_tokens - most).ids
            with torch.inference_mode():
                whole = model.model.generate(
                    input_ids=torch.tensor([ids], device=model.device),
                    max_new_tokens=most,
                    do_sample=False,
                    pad_token_id=model.pad_id,
                )
            found.append(str(model.tokenizer.decode(whole[0, len(ids) :], skip_special_tokens=True)))
        return found


def _rows(model_input: Any) -> list[tuple[Any, ...]]:
    if hasattr(model_input, "itertuples"):
        return list(model_input.itertuples(index=False, name=None))
    return [(value,) for value in model_input]


def _load_pyfunc(
    path: str, model_config: dict[str, Any] | None = None
) -> PyfuncRetriever | PyfuncClassifier | PyfuncCausal:
    """MLflow's entry point; ``path`` is the model's folder, named by its kind."""
    folder = Path(path)
    if folder.name == RETRIEVER:
        from descant.models.retriever import load_retriever

        return PyfuncRetriever(load_retriever(folder))
    from descant.models.causal import CausalModel
    from descant.models.trained import load_trained

    model = load_trained(folder)
    return PyfuncCausal(model) if isinstance(model, CausalModel) else PyfuncClassifier(model)


def mlmodel(kind: str) -> str:
    """The text of the ``MLmodel`` file that stands beside the folder of a model of ``kind``."""
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.pyfunc import add_to_model
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    vectors = Schema([TensorSpec(np.dtype("float32"), (-1, -1))])
    texts = Schema([ColSpec(DataType.string)])
    signatures = {
        RETRIEVER: ModelSignature(
            texts, vectors, params=ParamSchema([ParamSpec("side", DataType.string, "query")])
        ),
        CLASSIFIER: None,  # texts, pairs or images
        CAUSAL: ModelSignature(
            texts, texts, params=ParamSchema([ParamSpec("max_new_tokens", DataType.long, NEW_TOKENS)])
        ),
    }
    model = Model(signature=signatures[kind])
    add_to_model(model, loader_module=__name__, data=kind)  # type: ignore[no-untyped-call]
    return str(model.to_yaml())
