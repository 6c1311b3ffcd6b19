from typing import Any

import pytest

from descant.selection import Dense, Lexical, Selector, Uniform
from descant.testing.selector_suite import SelectorSuite, SimilaritySuite


class TestUniform(SelectorSuite):
    @pytest.fixture
    def selector(self) -> Selector:
        return Uniform(seed=3)


class TestSimilar(SimilaritySuite):
    @pytest.fixture(params=[Lexical(), Dense()], ids=["lexical", "dense"])
    def selector(self, request: Any) -> Selector:
        selector: Selector = request.param
        return selector
