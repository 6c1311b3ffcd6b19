"""From a pinned reference to a model and its tokenizer, with attention and precision as declared.

Models are ``Any`` inside: the annotations of transformers do not hold for what its factories return.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descant.artifacts.mirror import fetch
from descant.artifacts.models import AnyModel, StoredModel
from descant.core.errors import ConfigError, IntegrityError
from descant.core.seeds import seed_for
from descant.models.attention import declare_attention, set_attention
from descant.models.encoder import Attention, Pooling, Precision
from descant.models.gguf import convert_if_missing
from descant.models.new_rows import NewRows
from descant.models.tiny import tiny_model, tiny_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""How transformers is asked for anything: from files, without code that comes with them."""


def load_model(
    reference: AnyModel,
    *,
    precision: Precision = "fp32",
    attention: Attention = "native",
    device: str = "cpu",
) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    """The model in evaluation mode on ``device``, and its fast tokenizer; without network where it is cached.

    Raises what ``reference.check()`` raises, ConfigError where the architecture or device cannot do what is
    declared, IntegrityError where the tokenizer knows more tokens than the model.
    """
    dtype = _dtype(precision, device)
    tokenizer = load_tokenizer(reference)
    model: Any
    if isinstance(reference, StoredModel):
        model = _load_stored(reference.locate(), dtype, attention)
    else:
        model = tiny_model(reference.architecture, reference.seed, vocab_size=len(tokenizer))
        declare_attention(model.config, attention)
    _check_vocabulary(model, tokenizer)
    drop_pooler(model)
    model = model.to(device=device, dtype=dtype).eval()
    set_attention(model, attention)
    return model, tokenizer


def load_causal_model(
    reference: AnyModel, *, precision: Precision = "fp32", device: str = "cpu", new: NewRows | None = None
) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    """As ``load_model``, with the output head of a causal language model, and with ``new`` tokens where given.

    Decoding defaults that come with a model (temperature, penalties) are dropped; only its end tokens are kept,
    those of its configuration and of its tokenizer.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig

    dtype = _dtype(precision, device)
    tokenizer = load_tokenizer(reference)
    model: Any
    if isinstance(reference, StoredModel):
        model = _load_stored(reference.locate(), dtype, "native", AutoModelForCausalLM)
    elif reference.architecture == "llama":
        model = tiny_model("llama", reference.seed, vocab_size=len(tokenizer), factory="AutoModelForCausalLM")
        declare_attention(model.config, "native")
    else:
        raise ConfigError(
            "E-MOD-CAUSAL",
            f"tiny {reference.architecture}",
            "is no causal language model",
            "Set architecture: llama.",
        )
    if new is not None:
        new.apply(model)
        tokenizer = read_tokenizer(new.tokenizer)
    _check_vocabulary(model, tokenizer)
    declared = model.config.eos_token_id
    ends = {*(declared if isinstance(declared, list) else [declared]), tokenizer.eos_token_id} - {None}
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0)
    model.generation_config = GenerationConfig(eos_token_id=sorted(ends) or None, pad_token_id=pad)
    return model.to(device=device, dtype=dtype).eval(), tokenizer


def load_masked_model(
    reference: AnyModel, *, seed: int, precision: Precision = "fp32", device: str = "cpu"
) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    """As ``load_model``, with the head that fills in masked tokens.

    What of it the checkpoint lacks, as those of sentence encoders do, is drawn with ``seed``. Raises ConfigError where
    the tokenizer has no token for the mask, the begin or the end of a text.
    """
    import torch
    from transformers import AutoModelForMaskedLM

    dtype = _dtype(precision, device)
    tokenizer = load_tokenizer(reference)
    for role in ("mask_token", "cls_token", "sep_token"):
        if getattr(tokenizer, role, None) is None:
            raise ConfigError(
                "E-MOD-MASK",
                getattr(reference, "title", "the model"),
                f"its tokenizer has no {role}",
                "Choose an encoder that was trained to fill in masked tokens, such as BERT.",
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "masked head"))
        model: Any
        if isinstance(reference, StoredModel):
            model = _load_stored(reference.locate(), dtype, "native", AutoModelForMaskedLM)
        else:
            model = tiny_model(
                reference.architecture,
                reference.seed,
                vocab_size=len(tokenizer),
                factory="AutoModelForMaskedLM",
            )
            declare_attention(model.config, "native")
    _check_vocabulary(model, tokenizer)
    return model.to(device=device, dtype=dtype).eval(), tokenizer


def load_image_model(
    reference: AnyModel, *, precision: Precision = "fp32", device: str = "cpu"
) -> "PreTrainedModel":
    """The image encoder in evaluation mode on ``device``, without pooler.

    Raises what ``reference.check()`` raises, ConfigError where the model reads no images.
    """
    dtype = _dtype(precision, device)
    reference.check()
    model: Any
    if isinstance(reference, StoredModel):
        model = _load_stored(reference.locate(), dtype, "native")
    else:
        model = tiny_model(reference.architecture, reference.seed, vocab_size=8)
    if model.main_input_name != "pixel_values":
        raise ConfigError(
            "E-MOD-IMAGE",
            model.name_or_path or type(model).__name__,
            f"reads {model.main_input_name}, expected pixel_values",
            "Choose an image encoder such as ViT, or leave out 'image'.",
        )
    drop_pooler(model)
    ready: PreTrainedModel = model.to(device=device, dtype=dtype).eval()
    return ready


def _dtype(precision: Precision, device: str) -> "torch.dtype":
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    if dtype == torch.bfloat16 and device.startswith("cuda") and not torch.cuda.is_bf16_supported():
        raise ConfigError(
            "E-MOD-PRECISION",
            device,
            "this device does not compute in bf16",
            "Set precision: fp32 in the recipe.",
        )
    return dtype


def load_tokenizer(reference: AnyModel) -> "PreTrainedTokenizerFast":
    """The model's tokenizer alone; raises what ``reference.check()`` raises."""
    reference.check()
    convert_if_missing(reference)
    if not isinstance(reference, StoredModel):
        if reference.architecture == "vit":
            raise ConfigError("E-MOD-IMAGE", "tiny vit", "reads images, not text", "Set architecture: bert.")
        return tiny_tokenizer(reference.architecture)
    return read_tokenizer(reference.locate())


def read_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """The tokenizer that lies in ``folder``."""
    from transformers import AutoTokenizer

    with quiet():
        loaded: Any = AutoTokenizer.from_pretrained(fetch(folder), **LOCAL)
    tokenizer: PreTrainedTokenizerFast = loaded
    return tokenizer


def check_text_settings(
    model: Any, tokenizer: "PreTrainedTokenizerFast", *, pooling: Pooling, longest: int, fields: str
) -> None:
    """Raise ConfigError where texts need an end-of-text token, or ``longest`` tokens, that the model has not.

    ``fields`` names the settings of the length.
    """
    name = type(model).__name__
    if pooling == "eos" and tokenizer.eos_token_id is None:
        raise ConfigError(
            "E-MOD-EOS",
            name,
            "pooling eos, but the tokenizer has no end-of-text token",
            "Set pooling: last_token or mean.",
        )
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and longest > limit:
        raise ConfigError(
            "E-MOD-LENGTH",
            name,
            f"texts of {longest} tokens are asked for, the model has {limit} positions",
            f"Set {fields} to {limit} or less.",
        )


def _load_stored(folder: Path, dtype: "torch.dtype", attention: Attention, auto: Any = None) -> Any:
    """The model that ``auto`` makes of the folder; without one, the encoder alone (``AutoModel``)."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder, **LOCAL)
    declare_attention(config, attention)
    with quiet():
        return (auto or AutoModel).from_pretrained(
            folder, config=config, dtype=dtype, use_safetensors=True, attn_implementation="sdpa", **LOCAL
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Without the loading bars and remarks of transformers; warnings of ours are unaffected."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _check_vocabulary(model: Any, tokenizer: "PreTrainedTokenizerFast") -> None:
    num_rows = model.get_input_embeddings().num_embeddings
    num_tokens = max(tokenizer.get_vocab().values()) + 1
    if num_tokens > num_rows:
        raise IntegrityError(
            "E-MOD-VOCABULARY",
            model.name_or_path or type(model).__name__,
            f"the tokenizer has {num_tokens} tokens, the model embeds {num_rows}: they are not a pair",
            "Nothing was encoded. Restore the tokenizer files that came with the model.",
        )


def drop_pooler(model: Any) -> None:
    """Remove the pooling head of BERT and ViT: it takes no part in ours, so its weights would get no gradient."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
