"""The file ``tokenizer.model``: a SentencePiece model as the protocol buffer that its own library reads."""

from typing import Any

from descant.core.errors import IntegrityError
from descant.vocab.extend import Description, next_id


def parse(model: bytes) -> Any:
    """The model as a message, whose ``pieces`` stand in the order of their ids."""
    from sentencepiece import sentencepiece_model_pb2

    messages: Any = sentencepiece_model_pb2
    return messages.ModelProto.FromString(model)


def extended_model(base: bytes, described: Description) -> bytes | None:
    """``base`` with the new tokens of ``described``, which cuts every text as that does where ``base`` did.

    What the base has stays, its scores too. New pieces of a byte-pair model lie below all of those, in the order of
    their ids: what is joined is then the same as by merges (``descant.vocab.joins``). Special tokens behind the base's
    own become control pieces. None where there are other added tokens, which such a model finds at other places. Raises
    IntegrityError where the two are not of one vocabulary.
    """
    message = parse(base)
    vocabulary, scores = _pieces(described)
    if vocabulary[: len(message.pieces)] != [one.piece for one in message.pieces]:
        raise IntegrityError(
            "E-VOC-MODEL",
            "tokenizer.model",
            "its pieces are not those of tokenizer.json",
            "Nothing was written. Restore the tokenizer files that came with the model.",
        )
    num_old, lowest = len(message.pieces), min(one.score for one in message.pieces)
    added = {token["id"]: token["special"] for token in described["added_tokens"]}
    for number in range(num_old, len(vocabulary)):
        if not added.get(number, True):
            return None
        kind = message.SentencePiece.CONTROL if number in added else message.SentencePiece.NORMAL
        score = scores.get(number, lowest - 1 - (number - num_old))
        message.pieces.add(piece=vocabulary[number], score=score, type=kind)
    written: bytes = message.SerializeToString()
    return written


def _pieces(described: Description) -> tuple[list[str], dict[int, float]]:
    """All tokens by their ids, and the scores of those that have one."""
    listed = described["model"]["vocab"]
    names = {token["id"]: token["content"] for token in described["added_tokens"]}
    if isinstance(listed, list):
        names |= {number: piece for number, (piece, _) in enumerate(listed)}
        scores = {number: score for number, (_, score) in enumerate(listed)}
    else:
        names |= {number: piece for piece, number in listed.items()}
        scores = {}
    return [names[number] for number in range(next_id(described))], scores
