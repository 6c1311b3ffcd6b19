"""What a vocabulary extension adds to a model: a tokenizer, and rows for its new tokens in every matrix that has one
row per token. Nobody resizes anything by hand: loading a model with an extension does.

Legend: v tokens, n new tokens, d size of an embedding.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from descant.artifacts.weights import model_digest
from descant.core.errors import IntegrityError
from descant.models.folders import check_same

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from transformers import PreTrainedModel

EXTENSION, ROWS = "extension", "rows.safetensors"

MatrixName = Literal["input", "output", "output_bias"]
"""The input embeddings, those of an output head that is not tied to them, and the head's bias."""


@dataclass(frozen=True)
class NewRows:
    """Rows from token ``first`` on, one matrix [n, d] (a bias [n]) for each of ``token_matrices``."""

    first: int
    rows: "Mapping[MatrixName, Tensor]"
    tokenizer: Path
    """Folder of the tokenizer they belong to."""

    @property
    def num_rows(self) -> int:
        """How many tokens they are for."""
        return len(self.rows["input"])

    def apply(self, model: "PreTrainedModel") -> None:
        """Give ``model`` these rows; its own, up to ``first``, stay as they are, and so does a tie.

        Raises IntegrityError where the model has other matrices than those the rows were made for.
        """
        import torch

        found = token_matrices(model)
        if found.keys() != self.rows.keys():
            raise IntegrityError(
                "E-MOD-ROWS",
                type(model).__name__,
                f"has {', '.join(found)}, the new rows are for {', '.join(self.rows)}",
                "Nothing was loaded. Restore the base that the vocabulary was extended for.",
            )
        end = self.first + self.num_rows
        if end > len(found["input"]):  # some models have more rows than their tokenizer has tokens
            model.resize_token_embeddings(end, mean_resizing=False)
        with torch.no_grad():
            for name, matrix in token_matrices(model).items():
                matrix[self.first : end] = self.rows[name].to(matrix)


def token_matrices(model: "PreTrainedModel") -> "dict[MatrixName, Parameter]":
    """What of ``model`` has a row per token, each once: a tied head is its input matrix."""
    embeddings: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    found: dict[MatrixName, Parameter] = {"input": embeddings.weight}
    if head is not None and head.weight is not embeddings.weight:
        found["output"] = head.weight
    if head is not None and getattr(head, "bias", None) is not None:
        found["output_bias"] = head.bias
    return found


def write_new_rows(folder: Path, new: NewRows) -> dict[str, Any]:
    """Write rows and tokenizer into ``folder``/extension; what the settings of ``folder`` have to say of them."""
    from safetensors.torch import save_file

    target = folder / EXTENSION
    shutil.copytree(new.tokenizer, target)
    save_file({name: rows.detach().cpu().contiguous() for name, rows in new.rows.items()}, target / ROWS)
    return {
        "first": new.first,
        "num_rows": new.num_rows,
        "tied": "output" not in new.rows,
        "sha256": model_digest(target),
    }


def new_ids(settings: Mapping[str, Any]) -> range:
    """The tokens that the base lacks, of a model whose settings name an extension."""
    told = settings["extension"]
    return range(told["first"], told["first"] + told["num_rows"])


def read_new_rows(folder: Path, settings: Mapping[str, Any]) -> NewRows | None:
    """The extension of a model's folder, None where its settings name none.

    Raises IntegrityError where it is not the one that was saved.
    """
    if "extension" not in settings:
        return None
    from safetensors.torch import load_file

    target, told = folder / EXTENSION, settings["extension"]
    check_same(str(target), told["sha256"], model_digest(target))
    rows: Any = load_file(target / ROWS)
    check_same(f"{target}: tied", told["tied"], "output" not in rows)
    return NewRows(told["first"], rows, target)
