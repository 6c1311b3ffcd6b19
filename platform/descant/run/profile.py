"""Compute profiles: how a job is run on one kind of cluster, keyed by stage, never hashed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, model_validator

from descant.core.errors import ConfigError
from descant.core.request import Gpus, Request
from descant.core.spec import Compute, load_spec
from descant.stages.base import Stage
from descant.stages.embed import EmbedCompute
from descant.stages.evaluate_task import ScoreCompute
from descant.stages.map_parts import MapCompute
from descant.stages.training.settings import TrainCompute, refuse_shared_gpu

WAITING_CPUS = 0.1
"""Logical CPUs of a process that waits for workers."""
LEFT_TO_RAY_DATA = 0.9
"""Share of a worker's logical CPUs that its actors take: Ray Data's own tasks need some."""


class RayCompute(Compute):
    """The local Ray that is started when no cluster is named by RAY_ADDRESS."""

    num_cpus: int = 4
    """Logical CPUs. More than cores is fine: actors must never hold every one of them."""
    object_store_megabytes: int = 512
    """Shared memory for objects; payloads stay out of it, so little is enough."""


class TrialCompute(Compute):
    """What one trial of a comparison takes of the cluster."""

    workers: int = Field(0, ge=0)
    """Ray Train workers of its training, and actors of its scoring; 0 does both in the trial's own process."""
    cpus: float = Field(1, gt=0)
    """Logical CPUs of each of these processes, and threads of its numerical libraries."""
    gpus: Gpus = 0.0
    """GPUs of each of these processes; a fraction shares one device."""
    most_at_once: int | None = Field(None, ge=1)
    """Trials at the same time; as many as the cluster holds if left out."""

    @model_validator(mode="after")
    def _has_a_gpu_for_each(self) -> Self:
        refuse_shared_gpu(self.workers, self.gpus)
        return self

    @property
    def request(self) -> Request:
        """A trial's own process, or its workers with the process that waits for them; one trial is enough to go on."""
        if not self.workers:
            return Request(self.most_at_once or 1, self.cpus, self.gpus)
        return Request(self.workers, self.cpus, self.gpus, least=self.workers, beside=WAITING_CPUS)

    @property
    def resources(self) -> dict[str, float]:
        """What Ray Tune reserves: workers reserve their own, and leave little to the process that waits for them."""
        return {"cpu": WAITING_CPUS} if self.workers else {"cpu": self.cpus, "gpu": self.gpus}

    def concurrent(self, cluster: Mapping[str, float]) -> int | None:
        """Trials at the same time on a ``cluster`` of so many ``CPU`` and ``GPU``; None: as Ray Tune counts."""
        if self.most_at_once is not None or not self.workers:
            return self.most_at_once
        cpus = cluster.get("CPU", 0) / (self.workers * self.cpus + WAITING_CPUS)
        gpus = cluster.get("GPU", 0) / (self.workers * self.gpus) if self.gpus else cpus
        return max(1, int(min(cpus, gpus)))


class Profile(Compute):
    """One ``compute.yaml``."""

    ray: RayCompute = RayCompute()
    """The local Ray."""
    autoscales: bool = False
    """Whether the cluster adds nodes when they are asked for: what exceeds those of now is not refused then."""
    filter_text: MapCompute = MapCompute()
    """Reading and filtering text."""
    tokenise: MapCompute = MapCompute()
    """Turning text into token ids."""
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
    score_text: ScoreCompute = ScoreCompute()
    """Scoring a language model on the validation text of a corpus."""
    continue_texts: ScoreCompute = ScoreCompute()
    """Continuing texts, with one actor."""
    train: TrainCompute = TrainCompute()
    """Fine-tuning a retriever."""
    train_task: TrainCompute = TrainCompute()
    """Fine-tuning on a task."""
    train_text: TrainCompute = TrainCompute()
    """Training a language model on plain text."""
    train_masked: TrainCompute = TrainCompute()
    """Training an encoder on plain text."""
    trial: TrialCompute = TrialCompute()
    """A trial of a comparison."""

    def of_trial(self) -> "Profile":
        """The profile inside a trial: its stages run in as many processes, with what the trial says of each."""
        trial, sections = self.trial, dict[str, Any]()
        for name, section in self.model_dump().items():
            if name.startswith("train"):
                own = {
                    "cpus_per_worker": trial.cpus,
                    "gpus_per_worker": min(1.0, trial.gpus),
                    "min_workers": None,
                }
            elif name != "trial" and isinstance(section, dict) and "workers" in section:
                own = {"gpus": trial.gpus, "threads": max(1, int(trial.cpus))}
                if trial.workers:
                    own["cpus"] = LEFT_TO_RAY_DATA * trial.cpus
            else:
                continue
            sections[name] = section | own | {"workers": trial.workers}
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
