"""A model's architecture without its weights: what adapters are planned on."""

from typing import TYPE_CHECKING, Any, Literal

from descant.artifacts.models import AnyModel, StoredModel
from descant.models.gguf import convert_if_missing
from descant.models.load import LOCAL, drop_pooler, quiet
from descant.models.tiny import tiny_model, tiny_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Head = Literal["none", "next token", "masked token"]
"""What makes tokens of a model's states."""


def skeleton(reference: AnyModel) -> "PreTrainedModel":
    """The architecture without its weights, on the meta device; raises what ``reference.check()`` raises."""
    bare = _bare(reference, "AutoModel")
    drop_pooler(bare)
    return bare


def causal_skeleton(reference: AnyModel) -> "PreTrainedModel":
    """As ``skeleton``, with the output head of a causal language model."""
    return _bare(reference, "AutoModelForCausalLM")


def headed_skeleton(reference: AnyModel, head: Head) -> "PreTrainedModel":
    """As ``skeleton``, with this head."""
    factories = {"next token": "AutoModelForCausalLM", "masked token": "AutoModelForMaskedLM"}
    return skeleton(reference) if head == "none" else _bare(reference, factories[head])


def _bare(reference: AnyModel, factory: str) -> "PreTrainedModel":
    import torch
    import transformers

    reference.check()
    convert_if_missing(reference)
    model: Any
    if isinstance(reference, StoredModel):
        config = transformers.AutoConfig.from_pretrained(reference.locate(), **LOCAL)
        with torch.device("meta"), quiet():
            model = getattr(transformers, factory).from_config(config)
    else:
        is_image = reference.architecture == "vit"
        vocab_size = 8 if is_image else len(tiny_tokenizer(reference.architecture))
        model = tiny_model(reference.architecture, reference.seed, vocab_size=vocab_size, factory=factory)
    bare: PreTrainedModel = model.to("meta")
    return bare
