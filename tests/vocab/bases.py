"""Small tokenizers of the families that language models have, trained here on a few lines of English."""

import functools
import io
import json
from collections.abc import Iterable, Sequence

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from descant.vocab.sentencepiece_model import parse

ENGLISH = (
    "the quick brown fox jumps over the lazy dog and then it runs away from the other dogs in the garden",
    "information theory is the study of how much a message says, and of how it can be said in fewer words",
    "water is a liquid that plants and animals need; they drink it, or they take it out of the ground",
    "he said that she said that they said it was said before, in the other house, by the other people",
)
TURKISH = (
    "evlerimizden çıkıp bahçelerimize doğru yürüdük ve ağaçlarımızın altında oturduk",
    "öğretmenlerimiz öğrencilerimize kitaplarımızdan şiirler okudular, çocuklarımız dinlediler",
    "evlerimiz büyük değil ama bahçelerimiz geniş; ağaçlarımız çiçeklerini döküyor",
)
HINDI = (
    "किताबें पढ़ना अच्छा लगता है और किताबों से हम बहुत कुछ सीखते हैं",
    "हिन्दी में किताबें लिखी जाती हैं, पढ़ी जाती हैं और सुनाई जाती हैं",
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"

BPE = 2
"""The number of this kind of model in its file."""


@functools.cache
def byte_level(pattern: str | None = None) -> PreTrainedTokenizerFast:
    """As GPT-2 and SmolLM have it; with ``pattern`` as Llama 3, Qwen and BLOOM do."""
    backend = Tokenizer(models.BPE())
    if pattern is None:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        byte_alphabet = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, byte_alphabet])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(ENGLISH * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")


@functools.cache
def spaced() -> PreTrainedTokenizerFast:
    """As Llama 2, Mistral and Gemma have it: characters, ``▁`` for spaces, bytes for what is missing."""
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=specials, show_progress=False)
    trained.train_from_iterator(ENGLISH * 3, trainer)
    model = json.loads(trained.to_str())["model"]
    backend = Tokenizer(
        models.BPE(
            vocab=model["vocab"],
            merges=[tuple(merge) for merge in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


@functools.cache
def sentencepiece_model(model_type: str, form: str = "llama2") -> bytes:
    """A small ``tokenizer.model``."""
    return trained_model(ENGLISH * 3, model_type, form, vocab_size=420)


def trained_model(texts: Iterable[str], model_type: str, form: str, *, vocab_size: int) -> bytes:
    """A ``tokenizer.model``: ``bpe`` or ``unigram``; Gemma's texts begin without a space."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        model_type=model_type,
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=form != "gemma",
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()


@functools.cache
def converted(model_type: str, form: str = "llama2") -> PreTrainedTokenizerFast:
    """The small model as a fast tokenizer."""
    return as_fast(sentencepiece_model(model_type, form), form)


def as_fast(model_proto: bytes, form: str) -> PreTrainedTokenizerFast:
    """A fast tokenizer of a model, with its spaces as Llama 2, Gemma (``gemma``) or Mistral (``mistral``) have them.

    A byte-pair model has a merge for any two pieces that make one, in the order of the scores of what they make.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=model_proto)
    pieces = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    model: models.Model
    if parse(model_proto).trainer_spec.model_type == BPE:
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        merges = [
            (piece[:i], piece[i:])
            for number, piece in sorted(enumerate(pieces), key=lambda one: -processor.get_score(one[0]))
            for i in range(1, len(piece))
            if piece[:i] in vocabulary and piece[i:] in vocabulary and not processor.is_byte(number)
        ]
        model = models.BPE(
            vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
    else:
        scores = [(piece, processor.get_score(number)) for number, piece in enumerate(pieces)]
        model = models.Unigram(scores, unk_id=processor.unk_id(), byte_fallback=True)
    backend = Tokenizer(model)
    if form == "mistral":
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        steps = [normalizers.Prepend("▁")] if form == "llama2" else []
        backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    ends = [] if form == "gemma" else [decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *ends]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")


@functools.cache
def wordpiece() -> PreTrainedTokenizerFast:
    """As BERT has it."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz"),
        show_progress=False,
    )
    backend.train_from_iterator(ENGLISH * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


def tokens(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[str]]:
    return [tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).tokens for text in texts]
