"""SVFT as a PEFT method: importing this package makes PEFT know it (arXiv:2405.19597)."""

from descant.adapters.svft.register import register

register()

from descant.adapters.svft.config import SvftConfig  # noqa: E402 - its enumeration member must exist first
from descant.adapters.svft.hotswap import hotswap_adapter  # noqa: E402
from descant.adapters.svft.model import SvftModel  # noqa: E402

__all__ = ["SvftConfig", "SvftModel", "hotswap_adapter"]
