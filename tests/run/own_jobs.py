"""A folder with a table of jobs, recipes and data of one's own, and with secrets that nobody asked for."""

import json
from pathlib import Path

CANARY = "c4nary-b3c0mes-a-secret"
JOBS = '''
"""A table of jobs of one's own."""

import time
from collections.abc import Mapping
from typing import ClassVar, Literal

from descant.artifacts.models import TinyModel
from descant.data.beir import Beir
from descant.models.encoder import EncoderSpec
from descant.run.job import Job
from descant.stages.base import Outcome, Stage, StageContext, Step
from descant.stages.embed import EmbedPassages
from descant.stages.fetch import Fetch


class Wait(Stage):
    """Takes its time."""

    name: ClassVar[str] = "wait"
    seconds: float

    def run(self, context: StageContext) -> Outcome:
        for tenth in range(int(self.seconds * 10)):
            context.progress(tenth, self.seconds * 10, "tenths")
            time.sleep(0.1)
        return Outcome([], {})


class Embed(Job):
    """Fetches and embeds on workers."""

    job: Literal["embed_it"] = "embed_it"
    data: Beir
    note: str = ""

    def steps(self) -> Mapping[str, Step]:
        data = Step("fetch", Fetch(source=self.data, passages_per_part=1))
        encoder = EncoderSpec(model=TinyModel(architecture="bert"), pooling="mean")
        return {"vectors": Step("embed", EmbedPassages(encoder=encoder), {"data": data})}


class Waits(Job):
    """Waits."""

    job: Literal["wait"] = "wait"
    seconds: float

    def steps(self) -> Mapping[str, Step]:
        return {"waited": Step("wait", Wait(seconds=self.seconds))}


JOBS = (Embed, Waits)
'''
PASSAGES = 24
"""Each in a part of its own, so that embedding them can be disturbed between two parts."""


def write_place(folder: Path) -> Path:
    """Write it all to ``folder/jobs``; ``folder``, where commands are to be run."""
    jobs = folder / "jobs"
    (jobs / "recipes").mkdir(parents=True)
    (jobs / "__init__.py").write_text(JOBS)
    (jobs / ".env").write_text(f"HF_TOKEN={CANARY}\n")
    (jobs / ".git").mkdir()
    (jobs / ".git" / "config").write_text(f"url = https://me:{CANARY}@host/x\n")
    data = jobs / "data" / "mine"
    (data / "qrels").mkdir(parents=True)
    (data / "corpus.jsonl").write_text(
        "".join(
            json.dumps({"_id": f"p{i}", "title": "", "text": f"passage {i}"}) + "\n" for i in range(PASSAGES)
        )
    )
    (data / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "passage"}) + "\n")
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tp1\t1\n")
    source = '{kind: beir, path: "${DESCANT_JOBS}/data/mine", train_split: null}'
    (jobs / "recipes" / "embed.yaml").write_text(f"job: embed_it\ndata: {source}\n")
    (jobs / "recipes" / "wait.yaml").write_text("job: wait\nseconds: 60\n")
    return folder
