"""Tiny random models with toy tokenizers, built in memory in milliseconds: for smoke runs and tests.

The vocabulary is a few hundred pieces, characters or bytes and some common words, so that any text can be
tokenised.
"""

from typing import TYPE_CHECKING, Any, Literal

from descant.core.seeds import seed_for

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Architecture = Literal["bert", "llama", "vit"]

_WORDS = tuple(
    word
    for line in (
        "the of and to in is that for it as with was on be by this are from or an which at can has not",
        "what how why when who does water cell cells energy light heat force earth sun plant plants animal",
        "animals body blood air rock food change system process query document positive answer question",
    )
    for word in line.split()
)
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
}
"""An initialiser range ten times the usual one: differences between texts then stand well above rounding."""


_IMAGE_SIZES = {"image_size": 16, "patch_size": 8}


def tiny_model(
    architecture: Architecture, seed: int, *, vocab_size: int, factory: str = "AutoModel"
) -> "PreTrainedModel":
    """A float32 model of two layers in evaluation mode; equal weights for equal seeds.

    ``factory``, a class of transformers, decides its head. A ``vit`` reads images of 16 x 16 pixels.
    """
    import torch
    import transformers
    from transformers import AutoConfig

    special = _IMAGE_SIZES if architecture == "vit" else {"vocab_size": vocab_size, "pad_token_id": 0}
    config = AutoConfig.for_model(architecture, dtype=torch.float32, **_SIZES, **special)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "tiny model", architecture))
        model: Any = getattr(transformers, factory).from_config(config, attn_implementation="sdpa")
    ready: PreTrainedModel = model.eval()
    return ready


def tiny_tokenizer(architecture: Architecture) -> "PreTrainedTokenizerFast":
    """The toy tokenizer of a text architecture: ``bert``'s, else ``llama``'s."""
    from transformers import PreTrainedTokenizerFast

    if architecture == "bert":
        specials = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        backend = _wordpiece(list(specials.values()))
    else:
        specials = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
        backend = _byte_level(list(specials.values()))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **specials)


def _wordpiece(specials: list[str]) -> Any:
    """Lower-cased WordPiece, [CLS] before and [SEP] after, as BERT has it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [
        *specials,
        *characters,
        *(f"##{c}" for c in characters),
        *_WORDS,
        "##s",
        "##ing",
        "##ed",
        "##er",
    ]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return tokenizer


def _byte_level(specials: list[str]) -> Any:
    """Byte-level BPE, <s> before, as Llama 3 has it; common words are merged with their space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    merges: dict[tuple[str, str], None] = {}
    for word in _WORDS:
        spaced = f"Ġ{word}"
        merges |= dict.fromkeys((spaced[:i], spaced[i]) for i in range(1, len(spaced)))
    pieces = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return tokenizer
