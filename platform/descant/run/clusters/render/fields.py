"""Kinds of text in a ``cluster.yaml``: each has a pattern that leaves a shell and YAML nothing to read differently."""

from typing import Annotated

from pydantic import StringConstraints

Label = Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9-]{1,45}[a-z0-9]\z")]
"""A name that Kubernetes, Slurm and clouds all take (RFC 1035), short enough for what KubeRay appends to it."""
Folder = Annotated[str, StringConstraints(pattern=r"\A(/[A-Za-z0-9_][A-Za-z0-9._-]*)+\z", max_length=200)]
"""An absolute path without anything that a shell or YAML would read differently."""
Image = Annotated[
    str,
    StringConstraints(pattern=r"\A[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}\z"),
]
"""A container image by digest; a tag can be moved, so none is taken."""
Word = Annotated[
    str,
    StringConstraints(
        pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.:-]*(/[A-Za-z0-9_][A-Za-z0-9_.:-]*)*\z", max_length=200
    ),
]
"""A name that another system gave, perhaps with folders."""
NfsPath = Annotated[
    str,
    StringConstraints(pattern=r"\A[a-z0-9][a-z0-9.-]*:/([A-Za-z0-9_][A-Za-z0-9._-]*/?)*\z", max_length=200),
]
"""``host:/path`` of a shared file system."""
Cidr = Annotated[str, StringConstraints(pattern=r"\A[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}\z")]
"""A range of IPv4 addresses."""
