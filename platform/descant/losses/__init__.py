"""Training losses: the table of them."""

from descant.losses.base import ContrastBatch, Loss
from descant.losses.info_nce import InfoNce

LOSSES = (InfoNce,)
AnyLoss = InfoNce
"""Any loss, told apart by ``kind``; a discriminated union as soon as there are two."""

__all__ = ["LOSSES", "AnyLoss", "ContrastBatch", "InfoNce", "Loss"]
