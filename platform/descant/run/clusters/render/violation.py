"""One broken rule."""

import re
from typing import NamedTuple

BY_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
ASSIGNED_SECRET = re.compile(
    r"\b(?!RAY_AUTH_TOKEN_PATH=)\w*(TOKEN|SECRET|PASSW(OR)?D|CREDENTIALS?|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY)\w*="
    r"(?!\"?\$)[^\s;'\"]",
    re.I,
)
"""A value, not a variable, given to a name that sounds like a secret."""


class Violation(NamedTuple):
    """``rule`` is broken at ``where``."""

    rule: str
    where: str
    problem: str
