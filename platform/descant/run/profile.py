"""Compute profiles: how a job is run on one kind of cluster, keyed by stage, never hashed."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from descant.core.errors import ConfigError
from descant.core.spec import Compute, load_spec
from descant.stages.base import Stage
from descant.stages.embed import EmbedCompute
from descant.stages.evaluate_task import ScoreCompute
from descant.stages.map_parts import MapCompute
from descant.stages.training.settings import TrainCompute


class RayCompute(Compute):
    """The local Ray that is started when no cluster is named by RAY_ADDRESS."""

    num_cpus: int = 4
    """Logical CPUs. More than cores is fine: actors must never hold every one of them."""
    object_store_megabytes: int = 512
    """Shared memory for objects; payloads stay out of it, so little is enough."""


class TrialCompute(Compute):
    """What one trial of a comparison reserves on the cluster; its stages run inside its process."""

    cpus: float = Field(1, gt=0)
    """Logical CPUs of a trial, and threads of its numerical libraries."""
    gpus: float = Field(0, ge=0)
    """GPUs of a trial; a fraction shares one device."""
    most_at_once: int | None = Field(None, ge=1)
    """Trials at the same time; as many as the cluster holds if left out."""


class Profile(Compute):
    """One ``compute.yaml``."""

    ray: RayCompute = RayCompute()
    """The local Ray."""
    embed: EmbedCompute = EmbedCompute()
    """Encoding passages and queries."""
    compute_bases: MapCompute = MapCompute()
    """Decomposing weights."""
    build_index: MapCompute = MapCompute()
    """Building index shards."""
    mine_examples: MapCompute = MapCompute()
    """Choosing in-context examples."""
    evaluate: MapCompute = MapCompute()
    """Searching index shards."""
    evaluate_task: ScoreCompute = ScoreCompute()
    """Scoring a model on a task."""
    probe_forgetting: ScoreCompute = ScoreCompute()
    """Scoring a language model on plain text."""
    train: TrainCompute = TrainCompute()
    """Fine-tuning a retriever."""
    train_task: TrainCompute = TrainCompute()
    """Fine-tuning on a task."""
    trial: TrialCompute = TrialCompute()
    """A trial of a comparison."""

    def of_trial(self) -> "Profile":
        """The profile inside a trial: its stages run in its own process, with what the trial reserves."""
        sections: dict[str, Any] = {}
        for name, section in self.model_dump().items():
            if name in ("train", "train_task"):
                gpus = min(1.0, self.trial.gpus)
                own = {"workers": 0, "cpus_per_worker": self.trial.cpus, "gpus_per_worker": gpus}
                sections[name] = section | own
            elif isinstance(section, dict) and "workers" in section:
                threads = max(1, int(self.trial.cpus))
                sections[name] = section | {"workers": 0, "gpus": self.trial.gpus, "threads": threads}
        return self.overridden(sections)

    def for_stage(self, stage: Stage) -> Compute:
        """The section of a stage; a plain ``Compute`` for stages that run in the driver."""
        section: Any = getattr(self, stage.name, None)
        return section if isinstance(section, BaseModel) else Compute()  # type: ignore[return-value]


def load_profile(path: Path | None) -> Profile:
    """Read a profile; without a path, the defaults (two workers on one machine)."""
    if path is None:
        return Profile()
    if path.is_dir():
        path = path / "compute.yaml"
    if not path.is_file():
        raise ConfigError(
            "E-CFG-COMPUTE", str(path), "there is no such compute profile", "See clusters/*/compute.yaml."
        )
    return load_spec(Profile, path)
