from typing import Any

import pytest

from descant.indexes import Bm25, Exact, Hnsw, Index, Ivf
from descant.testing.index_suite import ExhaustiveSuite, IndexSuite, VectorSuite


class TestExact(ExhaustiveSuite, VectorSuite, IndexSuite):
    @pytest.fixture
    def index(self) -> Index:
        return Exact()


class TestApproximate(VectorSuite, IndexSuite):
    @pytest.fixture(params=[Hnsw(), Ivf(nlist=10)], ids=["hnsw", "ivf"])
    def index(self, request: Any) -> Index:
        index: Index = request.param
        return index


class TestBm25(ExhaustiveSuite, IndexSuite):
    @pytest.fixture(params=[Bm25(), Bm25(stop_words="english", k1=1.5, b=0.75)], ids=["plain", "stop"])
    def index(self, request: Any) -> Index:
        index: Index = request.param
        return index
