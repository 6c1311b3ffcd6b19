"""Search in the lists of the nearest centroids (inverted file; faiss ``IndexIVFFlat``)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from descant.core.errors import ConfigError
from descant.core.seeds import seed_for
from descant.indexes.base import Content, Index
from descant.indexes.faiss_shard import FaissShard, checked_vectors, load_faiss, read
from descant.indexes.merge import Answer
from descant.indexes.shard_files import Description, describe, verified

POINTS_PER_LIST = 39  # the least for which faiss calls a centroid trained
SAMPLE_PER_LIST = 256  # more do not improve it
CENTROIDS = "centroids.npy"


class Ivf(Index):
    """Approximate search in a part of the rows; all shards share one set of centroids, trained once.

    Rows and queries are given to their lists with exact scores, so any division into shards gives the same
    answers.
    """

    needs_preparation: ClassVar[bool] = True
    recall_floor: ClassVar[float] = 0.8

    kind: Literal["ivf"] = "ivf"
    """Which index this is."""
    nlist: int = Field(ge=1)
    """Lists; about the square root of the number of rows, and at most a 39th of it."""
    nprobe: int = Field(8, ge=1)
    """Lists searched for each query."""
    seed: int = Field(0, ge=0)
    """Seed of the training sample and of k-means."""

    @model_validator(mode="after")
    def _probes_exist(self) -> Self:
        if self.nprobe > self.nlist:
            raise ValueError(f"nprobe = {self.nprobe} is more than nlist = {self.nlist}")
        return self

    def prepare(self, parts: Iterable[Content], shared: Path) -> None:
        """Train the centroids on a sample of all parts, the same for any division of the rows into parts.

        Raises ConfigError (``E-IDX-TRAIN``) for fewer than 39 rows to a list.
        """
        centroids_ld = self._train(self._sample(parts))
        shared.mkdir(parents=True)
        np.save(shared / CENTROIDS, centroids_ld, allow_pickle=False)
        describe(shared, self, rows=self.nlist, first_row=0, dim=centroids_ld.shape[1])

    def fit(self, content: Content, *, first_row: int = 0, shared: Path | None = None) -> IvfShard:
        """The vectors by nearest centroid; raises as ``checked_vectors`` and ``prepare``."""
        faiss = load_faiss()
        vectors_nd = checked_vectors(content, first_row=first_row)
        if shared is None:
            centroids_ld = self._train(self._sample([vectors_nd]))
        else:
            verified(shared, self)
            centroids_ld = np.load(shared / CENTROIDS, allow_pickle=False)
        coarse = faiss.IndexFlatIP(centroids_ld.shape[1])
        coarse.add(centroids_ld)
        lists_n = np.ascontiguousarray(FaissShard(coarse).search(vectors_nd, 1).rows[:, 0])
        index = faiss.IndexIVFFlat(coarse, coarse.d, self.nlist, faiss.METRIC_INNER_PRODUCT)
        index.add_core(len(vectors_nd), faiss.swig_ptr(vectors_nd), None, faiss.swig_ptr(lists_n))
        return IvfShard(index, first_row=first_row, nprobe=self.nprobe)

    def load(self, folder: Path, description: Description) -> IvfShard:
        """From the faiss file, which holds the centroids too."""
        return IvfShard(read(folder), first_row=description.first_row, nprobe=self.nprobe)

    def _sample(self, parts: Iterable[Content]) -> np.ndarray:
        """Rows with the smallest random numbers: one pass, and a number depends on the row's place alone."""
        generator = np.random.default_rng(seed_for(self.seed, "ivf sample"))
        kept = draws = None
        for part in parts:
            vectors = checked_vectors(part, first_row=0)
            drawn = generator.random(len(vectors))
            kept = vectors if kept is None else np.concatenate([kept, vectors])
            draws = drawn if draws is None else np.concatenate([draws, drawn])
            first = np.sort(np.argsort(draws, kind="stable")[: SAMPLE_PER_LIST * self.nlist])
            kept, draws = kept[first], draws[first]
        given, needed = (0 if kept is None else len(kept)), POINTS_PER_LIST * self.nlist
        if kept is None or given < needed:
            raise ConfigError(
                "E-IDX-TRAIN",
                f"nlist = {self.nlist}",
                f"{given} rows were given, {needed} are needed ({POINTS_PER_LIST} to a list)",
                "Nothing was built. Lower nlist, or use the exact index: it is fast at this size.",
            )
        return kept

    def _train(self, sample_nd: np.ndarray) -> np.ndarray:
        seed = seed_for(self.seed, "ivf k-means") % 2**31  # faiss takes a C int
        kmeans = load_faiss().Kmeans(sample_nd.shape[1], self.nlist, niter=20, seed=seed, spherical=True)
        kmeans.train(sample_nd)
        centroids_ld: np.ndarray = kmeans.centroids
        return centroids_ld


class IvfShard(FaissShard):
    """Rows in lists."""

    def __init__(self, index: Any, *, first_row: int, nprobe: int) -> None:
        index.make_direct_map()
        index.nprobe = nprobe
        super().__init__(index, first_row=first_row)
        self.nprobe = nprobe
        self.coarse = FaissShard(load_faiss().downcast_index(index.quantizer))

    def nearest(self, queries_qd: np.ndarray, k: int) -> Answer:
        """The k best rows in the probed lists; row -1 at the end where these hold fewer."""
        lists_qp = self.coarse.search(queries_qd, self.nprobe).rows
        return self.certified(
            queries_qd,
            k,
            lambda which, width: self.index.search_preassigned(
                queries_qd[which], width, lists_qp[which], None
            ),
        )
