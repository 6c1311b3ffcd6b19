"""What a comparison can be made on: each kind of task knows the steps of a cell.

prepare ── [decompose] ── train ─┬─ evaluate (validation while tuning, test in the end)
                                 └─ probe what the base could do before
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from descant.adapters import AnyMethod, Spectral
from descant.artifacts.models import AnyModel
from descant.core.measures import MeasureName
from descant.core.spec import Spec
from descant.data import AnyRetrievalSource
from descant.indexes.exact import Exact
from descant.models.causal import CausalSpec
from descant.models.classifier import ClassifierSpec
from descant.models.encoder import EncoderSpec, Precision
from descant.run.compare.cells import Phase
from descant.run.compare.space import Setting
from descant.stages.base import Step
from descant.stages.build_index import BuildIndex
from descant.stages.compute_bases import BASES, ComputeBases
from descant.stages.embed import EmbedPassages, EmbedQueries
from descant.stages.evaluate import Evaluate
from descant.stages.evaluate_task import EvaluateTask
from descant.stages.fetch import Fetch
from descant.stages.pair_examples import PairExamples
from descant.stages.prepare_task import PrepareTask
from descant.stages.train import Train
from descant.stages.train_task import TrainTask
from descant.stages.training.settings import Schedule, TaskTrainSettings, TrainSettings
from descant.tasks import AnyLabelTask, AnyTextTask
