from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from descant.adapters import Full, Lora
from descant.artifacts.models import FolderModel, TinyModel
from descant.core.errors import ConfigError, IntegrityError
from descant.models.causal import CausalModel, CausalSpec, load_causal
from descant.models.load import load_causal_model
from descant.models.trained import load_trained, save_trained

SPEC = CausalSpec(model=TinyModel(architecture="llama"))
TINY = load_causal(SPEC)
CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}<|answer|>"


def decoded(model: CausalModel, ids: list[int]) -> str:
    return str(model.tokenizer.decode(ids, skip_special_tokens=True))


@given(prompt=st.text(max_size=20), continuation=st.text(max_size=20), end=st.booleans())
def test_pair_holds_every_character_and_the_prompt_that_generation_sees(
    prompt: str, continuation: str, end: bool
) -> None:
    # The text of a special token is read as that token, which decoding leaves out.
    special = TINY.tokenizer.all_special_tokens
    assume(not any(token in prompt + continuation for token in special))
    pair = TINY.encode_pair(prompt, continuation, end=end)
    assert decoded(TINY, pair.ids) == prompt + continuation
    assert pair.ids[: pair.num_prompt] == TINY.encode_prompt(prompt).ids
    assert pair.num_prompt >= 1
    assert (pair.ids[-1] == TINY.eos_id) == end


def test_spaces_at_the_end_of_a_prompt_go_to_the_continuation() -> None:
    spaced, plain = TINY.encode_pair("what is ", "water"), TINY.encode_pair("what is", " water")
    assert spaced == plain
    assert plain.num_continuation == 1


def test_token_that_would_reach_over_the_boundary_is_split_there() -> None:
    whole = TINY.tokenizer(" water", add_special_tokens=False).input_ids
    pair = TINY.encode_pair("is wa", "ter")
    assert len(whole) == 1
    assert decoded(TINY, pair.ids[pair.num_prompt :]) == "ter"


def test_long_prompt_loses_its_beginning_and_keeps_its_start_token() -> None:
    model = CausalModel(SPEC.model_copy(update={"max_tokens": 6}), TINY.model, TINY.tokenizer)
    pair = model.encode_pair("abcdefgh", "xyz")
    assert pair.is_cut
    assert pair.ids[0] == TINY.tokenizer.bos_token_id
    assert decoded(model, pair.ids) == "ghxyz"
    assert decoded(model, model.encode_pair("ab", "123456789").ids) == "12345"
    assert decoded(model, model.encode_prompt("abcdefgh", max_tokens=4).ids) == "fgh"


def test_chat_writes_the_prompt_in_the_template() -> None:
    model, tokenizer = load_causal_model(SPEC.model)
    tokenizer.chat_template = CHAT
    chat = CausalModel(SPEC.model_copy(update={"chat": True}), model, tokenizer)
    pair = chat.encode_pair("why ", " water", end=True)
    assert decoded(chat, pair.ids[: pair.num_prompt]) == "<|user|>why \n<|answer|>"
    assert decoded(chat, pair.ids[pair.num_prompt :]) == "water"
    assert pair.ids[: pair.num_prompt] == chat.encode_prompt("why ").ids


def test_chat_without_a_template_is_refused() -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        load_causal(SPEC.model_copy(update={"chat": True}))


def test_encoder_is_refused_as_a_language_model() -> None:
    with pytest.raises(ConfigError, match="no causal language model"):
        load_causal(CausalSpec(model=TinyModel(architecture="bert")))


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FolderModel:
    folder = tmp_path_factory.mktemp("base")
    model, tokenizer = load_causal_model(SPEC.model)
    if request.param:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return FolderModel(path=str(folder))


def trained(spec: CausalSpec, method: Any, folder: Path) -> CausalModel:
    """A model whose trainable parameters were all changed, and its folder."""
    causal = load_causal(spec)
    causal.model = method.attach(causal.model, seed=1)
    state = {n: p.data.add_(0.3) for n, p in causal.model.named_parameters() if p.requires_grad}
    method.save(causal.model, folder / "adapter-draft", state)
    save_trained(folder / "model", spec, adapter=folder / "adapter-draft")
    return causal


@pytest.mark.parametrize("method", [Lora(r=2, lora_alpha=4), Full()], ids=["lora", "full"])
def test_trained_folder_reloads_to_the_same_logits(base: FolderModel, method: Any, tmp_path: Path) -> None:
    import torch

    spec = CausalSpec(model=base)
    before = trained(spec, method, tmp_path)
    after = load_trained(tmp_path / "model")
    ids = torch.tensor([before.encode_pair("what", " is water").ids])
    with torch.inference_mode():
        expected, untrained = before.model.eval()(ids).logits, load_causal(spec).model(ids).logits
        torch.testing.assert_close(after.model(ids).logits, expected, rtol=0, atol=0)
    assert not torch.allclose(expected, untrained, atol=0.1)


def test_folder_of_another_base_or_with_changed_adapter_is_refused(base: FolderModel, tmp_path: Path) -> None:
    trained(CausalSpec(model=base), Lora(r=2, lora_alpha=4), tmp_path)
    with pytest.raises(IntegrityError, match="base model"):
        load_causal(SPEC, folder=tmp_path / "model")
    with (tmp_path / "model" / "adapter" / "adapter_config.json").open("a") as stream:
        stream.write("\n")
    with pytest.raises(IntegrityError, match="expected"):
        load_trained(tmp_path / "model")


def test_half_written_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no settings\.json"):
        load_trained(tmp_path)
