"""A registered retriever for plain MLflow: ``mlflow.pyfunc.load_model("models:/NAME@champion")``; no pickle.

MLflow imports this module by its name in the version's ``MLmodel`` file. Loaded so, the retriever checks its
base model and its adapter; only ``descant.run.registry.load`` checks every file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from descant.core.errors import ConfigError
from descant.run.versions import RETRIEVER

if TYPE_CHECKING:
    from descant.models.retriever import Retriever

SIDES = ("query", "document")


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
        texts = list(model_input.iloc[:, 0] if hasattr(model_input, "iloc") else model_input)
        if side == "query":
            return self.python_model.encode_queries(texts)
        return self.python_model.encode_documents(texts)


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> PyfuncRetriever:
    """MLflow's entry point; ``path`` is the retriever's folder."""
    from descant.models.retriever import load_retriever

    return PyfuncRetriever(load_retriever(Path(path)))


def mlmodel() -> str:
    """The text of the ``MLmodel`` file that stands beside the folder ``retriever``."""
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.pyfunc import add_to_model
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.string)]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, -1))]),
        params=ParamSchema([ParamSpec("side", DataType.string, "query")]),
    )
    model = Model(signature=signature)
    add_to_model(model, loader_module=__name__, data=RETRIEVER)  # type: ignore[no-untyped-call]
    return str(model.to_yaml())
