"""Convert a quantised model once into the float32 folder that everybody loads.

Loading a GGUF model converts it where that has not been done; the step is for jobs that want it seen in their plan.
"""

from typing import ClassVar

from descant.artifacts.models import CONVERT_STAGE, CONVERT_VERSION, GgufModel
from descant.core.spec import Compute
from descant.stages.base import Outcome, Stage, StageContext


class ConvertModel(Stage):
    """The float32 copy of a GGUF model. No inputs. The store must be the one that ``DESCANT_STORE`` names."""

    name: ClassVar[str] = CONVERT_STAGE
    version: ClassVar[int] = CONVERT_VERSION

    model: GgufModel
    """The quantised model."""

    def check(self, compute: Compute) -> None:
        """Raise when the package, or what reads it, is not installed."""
        self.model.check()

    def run(self, context: StageContext) -> Outcome:
        """Publish ``model``: safetensors, configuration and tokenizer."""
        from descant.models.gguf import PART, publish_converted

        return Outcome([PART], publish_converted(context.folder, self.model))
