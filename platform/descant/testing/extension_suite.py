"""The promises of every way to extend a tokenizer, as tests to subclass by filling three fixtures."""

import pytest
from transformers import PreTrainedTokenizerFast

from descant.vocab.extend import Description, from_description
from descant.vocab.extension import Corpora, Extension
from descant.vocab.side_effects import side_effects
from descant.vocab.words import description


class ExtensionSuite:
    """Give the fixtures ``extension`` (of 40 new tokens at most), ``base`` and ``corpora``."""

    @pytest.fixture
    def extension(self) -> Extension:
        raise pytest.UsageError("a subclass gives the extension under test")

    @pytest.fixture
    def base(self) -> PreTrainedTokenizerFast:
        raise pytest.UsageError("a subclass gives the tokenizer that is extended")

    @pytest.fixture
    def corpora(self) -> Corpora:
        raise pytest.UsageError("a subclass gives texts")

    @pytest.fixture
    def described(self, extension: Extension, base: PreTrainedTokenizerFast, corpora: Corpora) -> Description:
        return extension.extend(base, corpora)

    def test_old_ids_stay_and_new_ones_follow(
        self, base: PreTrainedTokenizerFast, described: Description
    ) -> None:
        old, new = base.get_vocab(), from_description(described).get_vocab()
        assert {piece: new[piece] for piece in old} == old
        added = sorted(set(new.values()) - set(old.values()))
        assert added == list(range(max(old.values()) + 1, max(old.values()) + 1 + len(added)))

    def test_there_are_new_tokens_and_no_more_than_asked_for(
        self, extension: Extension, base: PreTrainedTokenizerFast, described: Description
    ) -> None:
        assert 0 < len(from_description(described)) - len(base) <= extension.num_new == 40

    def test_texts_of_the_language_get_shorter_or_known(
        self, base: PreTrainedTokenizerFast, described: Description, corpora: Corpora
    ) -> None:
        found = side_effects(base, from_description(described), corpora.language)
        assert found.change < 0 or found.extended.unknown < found.base.unknown
        assert found.extended.new > 0

    def test_every_text_comes_back(
        self, extension: Extension, base: PreTrainedTokenizerFast, described: Description, corpora: Corpora
    ) -> None:
        if not extension.reversible:
            pytest.skip("declares that some texts do not")
        for texts in (corpora.language, corpora.base_language):
            assert side_effects(base, from_description(described), texts).lost == 0

    def test_equal_texts_give_equal_tokenizers(
        self, extension: Extension, base: PreTrainedTokenizerFast, described: Description, corpora: Corpora
    ) -> None:
        assert extension.extend(base, corpora) == described

    def test_no_new_tokens_leave_everything_as_it_was(
        self, extension: Extension, base: PreTrainedTokenizerFast, corpora: Corpora
    ) -> None:
        none = extension.model_copy(update={"num_new": 0}).extend(base, corpora)
        assert none["model"] == description(base)["model"]
        assert none["added_tokens"] == description(base)["added_tokens"]
