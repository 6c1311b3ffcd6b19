"""Making SVFT known to PEFT, whose registry is closed by an enumeration.

The one place that touches the enumeration's private parts; ``tests/adapters/svft/test_tuner.py`` holds it against the
installed version.
"""

from peft.utils import PeftType, register_peft_method

NAME = "SVFT"


def extend_peft_types() -> None:
    """Add the member ``PeftType.SVFT``; does nothing where it is there."""
    if NAME in PeftType.__members__:
        return
    member = str.__new__(PeftType, NAME)
    member._name_, member._value_ = NAME, NAME
    type.__setattr__(PeftType, NAME, member)
    PeftType._member_names_.append(NAME)
    PeftType._member_map_[NAME] = member
    PeftType._value2member_map_[NAME] = member


def register() -> None:
    """Let ``get_peft_model`` and ``PeftModel.from_pretrained`` find SVFT in this process; once is enough."""
    extend_peft_types()
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    from descant.adapters.svft.config import SvftConfig
    from descant.adapters.svft.model import SvftModel

    if PeftType[NAME] not in PEFT_TYPE_TO_TUNER_MAPPING:
        register_peft_method(name="svft", config_cls=SvftConfig, model_cls=SvftModel)
