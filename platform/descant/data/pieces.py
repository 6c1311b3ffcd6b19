"""A SentencePiece model that cuts texts in the same way for everyone, such as that of FLORES-101 (arXiv:2106.03193)."""

from collections.abc import Mapping
from pathlib import Path

from descant.core.errors import DataError
from descant.data.pinned import FileLocation, HubFile, PinnedFiles, file_at, local_file


class Pieces(PinnedFiles):
    """A file ``*.model``; nothing is downloaded for it.

    For spBLEU it is ``sacrebleu_tokenizer_spm.model``, published with FLORES-101, or the one of FLORES-200.
    """

    path: FileLocation
    """The file; may start with ``${DESCANT_DATA}``."""

    def named_files(self) -> Mapping[str, Path | HubFile]:
        """The one file."""
        return {"model": file_at(self.path)}

    def cut(self, texts: list[str]) -> list[list[str]]:
        """The pieces of each text. Raises DataError for a file that is no SentencePiece model."""
        from sentencepiece import SentencePieceProcessor

        path = local_file(self.path)
        try:
            processor = SentencePieceProcessor(model_proto=path.read_bytes())
        except RuntimeError as error:
            raise DataError(
                "E-DATA-PIECES", str(path), f"is no SentencePiece model ({error})", "Fetch it again."
            ) from None
        return [" ".join(pieces).split() for pieces in processor.encode(texts, out_type=str)]
