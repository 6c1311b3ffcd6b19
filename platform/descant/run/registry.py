"""Registered retrievers: MLflow model versions that say what they were made from and whether they are better.

A version is a retriever's folder among the artifacts of a run, with tags: the sha256 of every file, of its base
model, tokenizer and data, the commit, scores with intervals, and the outcome of the paired test that decides
whether it becomes the ``champion``. ``load`` believes the tags and nothing else: every file is hashed before any is
read, and only formats that cannot run code are accepted.
"""

import getpass
import json
import math
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from descant.artifacts.commit import files_of
from descant.artifacts.models import StoredModel
from descant.artifacts.store import Store
from descant.artifacts.weights import model_digest, pinned_files
from descant.core.errors import ConfigError, DataError, IntegrityError, NumericsError
from descant.core.fingerprint import file_digest, folder_digest
from descant.run.mlflow_client import Connection, answering, connect
from descant.run.tracking import JobRun, Run, made_by
from descant.run.verified import RETRIEVER, verified_folder

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from descant.models.retriever import Retriever

CHAMPION = "champion"
EVIDENCE = "evidence.json"
NAME = re.compile(r"^[a-z0-9][a-z0-9-]{2,62}$")
_RESERVED = re.compile(r"^(latest|v[0-9]+)$")
_SOURCE = re.compile(r"^models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<number>[0-9]+))$")


class Verdict(Protocol):
    """The outcome of a paired test; ``str()`` tells the difference, its interval and the p-value."""

    @property
    def better(self) -> bool:
        """Whether the first scores are higher than the second beyond chance."""


PairedTest = Callable[[Sequence[float], Sequence[float]], Verdict]


@dataclass(frozen=True)
class Evidence:
    """What an evaluation says about a retriever: its own scores and those of its base on the same queries."""

    task: str
    """The digest of what was judged: corpus, queries and judgements."""
    measure: str
    """The measure that decides, such as ``ndcg_at_10``."""
    scores: Mapping[str, float]
    """The retriever's score for every judged query, by query id."""
    base_scores: Mapping[str, float]
    """The base model's score for the same queries."""
    intervals: Mapping[str, tuple[float, float, float]]
    """By measure: the mean and the ends of its 95 % interval."""


@dataclass(frozen=True)
class Version:
    """A registered version."""

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    run_id: str
    source: str
    created: datetime

    @property
    def uri(self) -> str:
        """``models:/NAME/NUMBER``."""
        return f"models:/{self.name}/{self.number}"

    @property
    def digest(self) -> str:
        """One sha256 over the files of its folder."""
        return self.tags.get("digest", "")


def register(
    job: JobRun,
    folder: Path,
    name: str,
    *,
    lineage: Mapping[str, str],
    evidence: Evidence,
    paired_test: PairedTest,
    force: bool = False,
) -> Version:
    """Register the retriever in ``folder`` as a version of ``name``; a folder with equal bytes is registered once.

    ``lineage`` holds what the folder does not know: digests of data, judgements and recipe, fingerprints. The
    version becomes the champion when ``paired_test`` finds it better than the present one or, for the first, than
    its base model; or when ``force`` is set, which is recorded with its user and time.

    Raises ConfigError for a name outside ``[a-z0-9-]``, PolicyError for files of other formats, NumericsError for
    scores that are not finite, DataError when the champion's or the base's scores are of other queries.
    """
    check_name(name)
    _check_evidence(evidence)
    files = {relative: file_digest(path) for relative, path in retriever_files(folder).items()}
    version = _with_digest(job.connection, name, folder_digest(files))
    if version is None:
        tags = {"digest": folder_digest(files), "files": json.dumps(files), **made_by(), **lineage_of(folder), **lineage}
        tags |= {f"score.{m}": _interval(*figures) for m, figures in evidence.intervals.items()}
        with job.stage(f"register {name}", tags["digest"][:12], tags) as run:
            version = _create(run, folder, name, evidence, tags)
    if "promotion" not in version.tags:
        better, why = _judge(job.connection, version, evidence, paired_test)
        if better:
            _set_alias(job.connection, version, CHAMPION)
        _set_tags(job.connection, version, {"promotion": why})
    if force:
        _force(job.connection, version, CHAMPION)
    return find_version(version.uri, job.connection)
