"""A tiny BERT with a mask token, as a plain model folder."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from descant.artifacts.models import FolderModel
from descant.models.tiny import tiny_model, tiny_tokenizer


def toy_encoder(folder: Path) -> FolderModel:
    """Random weights of 32 dimensions, WordPiece tokens and the mask behind them."""
    tokenizer = tiny_tokenizer("bert")
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    tiny_model("bert", 5, vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return FolderModel(path=str(folder))


@cache
def shared_encoder() -> FolderModel:
    """The same for all tests that only read it."""
    return toy_encoder(Path(_home().name))


@cache
def _home() -> TemporaryDirectory[str]:
    """Kept, so that it is there as long as the process."""
    return TemporaryDirectory(prefix="toy-encoder-")
