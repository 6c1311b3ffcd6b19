"""Little work is done in the process of its step: no Ray is asked, though the profile has workers."""

from pathlib import Path

import ray

from descant.artifacts.store import Store
from descant.data.beir import Beir
from descant.data.running_text import RunningText
from descant.models.encoder import EncoderSpec
from descant.run.profile import Profile
from descant.stages.base import Step
from descant.stages.compute_bases import ComputeBases
from descant.stages.embed import EmbedPassages, EmbedQueries
from descant.stages.fetch import Fetch
from descant.stages.filter_text import FilterText
from descant.stages.map_parts import MapCompute
from tests.faults.tiny_job import write_data
from tests.pipeline import made

ENCODER = EncoderSpec.model_validate(
    {"model": {"kind": "tiny"}, "pooling": "mean", "max_query_tokens": 64, "max_passage_tokens": 32}
)
PROFILE = Profile()


def test_few_texts_are_encoded_without_ray(tmp_path: Path) -> None:
    data = Step("data", Fetch(source=Beir(path=str(write_data(tmp_path / "data")))))
    for stage in (EmbedPassages(encoder=ENCODER), EmbedQueries(encoder=ENCODER, split="test")):
        assert PROFILE.embed.workers
        vectors = made(Step("vectors", stage, {"data": data}), Store(tmp_path / "store"), PROFILE)["vectors"]
        assert vectors.names("vectors-") == ["vectors-00000"]
    assert not ray.is_initialized()


def test_single_file_is_filtered_without_ray(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "Plants need light and water to grow, and animals need plants to live."}\n')
    profile = Profile(filter_text=MapCompute(workers=2))
    stage = FilterText(source=RunningText(files=(str(path),)))
    texts = made(Step("texts", stage), Store(tmp_path / "store"), profile)["texts"]
    assert texts.names("texts-") == ["texts-00000"]
    assert not ray.is_initialized()


def test_small_weights_are_decomposed_without_ray(tmp_path: Path) -> None:
    assert PROFILE.compute_bases.workers
    stage = ComputeBases(model=ENCODER.model)
    bases = made(Step("bases", stage), Store(tmp_path / "store"), PROFILE)["bases"]
    assert len(bases.names("basis-")) == 12
    assert not ray.is_initialized()
