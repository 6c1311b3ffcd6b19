"""One broken rule."""

import re
from typing import NamedTuple

BY_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
ASSIGNED_SECRET = re.compile(
    r"\b\w*(TOKEN|SECRET|PASSW(OR)?D|CREDENTIALS?|(API|ACCESS|PRIVATE)_?KEY)(?!_(PATH|FILE)=)(_\w*)?="
    r"[\"']?[^\s;\"'$]",
    re.I,
)
"""A value, not a variable, given to a name that sounds like a secret; a path is none."""


class Violation(NamedTuple):
    """``rule`` is broken at ``where``."""

    rule: str
    where: str
    problem: str
