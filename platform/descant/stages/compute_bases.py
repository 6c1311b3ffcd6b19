"""Decompose every weight that a method trains between the singular vectors of, one task a weight.

Everybody who adapts the same base reads them: the workers of a training, and those who load what it made.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from descant.artifacts.commit import publish
from descant.artifacts.models import AnyModel
from descant.artifacts.store import Artifact
from descant.core.spec import Compute
from descant.models.encoder import Precision
from descant.stages.base import Outcome, Stage, StageContext
from descant.stages.held import Held
from descant.stages.map_parts import MapCompute, in_place, map_parts

BASES = "bases"
"""The name under which a stage takes them as input."""
FEW_PRODUCTS = 10**9
"""Weights of together so many products (o x i x min(o, i); one of 1,000 x 1,000) are decomposed within seconds."""


class ComputeBases(Stage):
    """The canonical singular value decomposition of each target, in float64, kept in float32."""

    name: ClassVar[str] = "compute_bases"
    compute_class: ClassVar[type[Compute]] = MapCompute

    model: AnyModel
    """Whose weights."""
    precision: Precision = "fp32"
    """The number format that the weights have when they are decomposed."""
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Which of them, as methods name them."""

    def check(self, compute: Compute) -> None:
        """Raise when the model is not there or unsafe."""
        self.model.check()

    def held(self, compute: Compute) -> Held:
        """The model alone: it reads nothing."""
        return Held(self.model, self.precision, ((0, 0),))

    def run(self, context: StageContext) -> Outcome:
        """Publish ``basis-*``, one for each target, with the sha256 of its weight."""
        from descant.adapters.library import targets
        from descant.models.skeleton import skeleton

        weights = targets(skeleton(self.model), self.target_modules, ("Linear", "Conv1D"))
        sides = [sorted((weight.out_features, weight.in_features)) for weight in weights]
        products = sum(short * short * long for short, long in sides)
        parts = {f"basis-{number:05d}": 1 for number in range(len(weights))}
        map_parts(
            in_place(context) if products <= FEW_PRODUCTS else context,
            _BasisWork(context.folder, self, [weight.name for weight in weights]),
            parts,
            unit="weights",
        )
        return Outcome(parts, {"weights": len(parts)})


class _BasisWork:
    """An actor's work: one copy of the model, one decomposition at a time."""

    def __init__(self, folder: Path, stage: ComputeBases, names: list[str]) -> None:
        self.folder, self.stage, self.names = folder, stage, names

    def __call__(self) -> "_BasisWork":
        from descant.models.load import load_model

        self.model: Any = load_model(self.stage.model, precision=self.stage.precision)[0]
        return self

    def process(self, name: str) -> int:
        from transformers.pytorch_utils import Conv1D

        from descant.adapters.svft.basis import compute_basis, weight_digest
        from descant.adapters.svft.source import check_basis, read_basis, write_basis

        module = self.model.get_submodule(self.names[int(name.removeprefix("basis-"))])
        weight_oi = module.weight.detach().T if isinstance(module, Conv1D) else module.weight.detach()
        basis = compute_basis(weight_oi)
        publish(
            self.folder,
            name,
            lambda path: write_basis(basis, path),
            rows=1,
            suffix=".safetensors",
            check=lambda path: check_basis(read_basis(path), weight_oi, name),
            facts={"weight_sha256": weight_digest(weight_oi)},
        )
        return 1


def basis_files(bases: Artifact) -> dict[str, Path]:
    """The files of a ``compute_bases`` result by the sha256 of their weights."""
    return {str(part.facts["weight_sha256"]): bases.path(part.name) for part in bases.manifest.parts}


@contextmanager
def reading_bases(files: Mapping[str, Path]) -> Iterator[None]:
    """Adapters that are attached or loaded within the block find their bases in ``files``."""
    if not files:
        yield
        return
    from descant.adapters.svft.source import bases_from

    with bases_from(files):
        yield
