"""The errors a user can meet, each with its exit code.

    DescantError
    ├── ConfigError        2   a recipe, an option or a combination of them is refused
    ├── DataError          3   input data is refused
    ├── ResourceError      4   disk, memory, CPUs, GPUs or permission
    ├── IntegrityError     5   a digest, version or fingerprint does not match
    ├── PolicyError        6   refused for safety (pickle, remote code, a path outside its root)
    ├── DependencyError    7   something we depend on is missing or unreachable
    ├── NumericsError      8   NaN or infinity where a number must be finite
    ├── BusyError          9   another run holds the address
    └── Interrupted       75   stopped on request; the same command resumes

Every message answers four questions: which rule (a stable code), which object, what was found against
what was expected, and what state things are in and what to do next.
"""

from typing import ClassVar


class DescantError(Exception):
    """An error meant for the user; ``str()`` gives the whole message, ``exit_code`` the process status.

    ``code`` is stable and starts with ``E-``; ``where`` names the object (file:line, part, row id, step);
    ``problem`` says what was found and what was expected; ``remedy`` says what was left as it was and what
    to do. The arguments are positional so that the error survives pickling between Ray processes.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, where: str, problem: str, remedy: str) -> None:
        super().__init__(code, where, problem, remedy)
        self.code, self.where, self.problem, self.remedy = code, where, problem, remedy

    def __str__(self) -> str:
        return f"error[{self.code}] {self.where}: {self.problem.rstrip('.')}. {self.remedy}"


class ConfigError(DescantError):
    """A recipe, an option or a combination of options is refused before anything starts."""

    exit_code = 2


class DataError(DescantError):
    """Input data is refused."""

    exit_code = 3


class ResourceError(DescantError):
    """Disk, memory, CPUs, GPUs or permission is missing."""

    exit_code = 4


class IntegrityError(DescantError):
    """Stored bytes, versions or fingerprints do not match what was promised."""

    exit_code = 5


class PolicyError(DescantError):
    """Refused for safety: an unsafe format, remote code, or a path outside its root."""

    exit_code = 6


class DependencyError(DescantError):
    """A library, file or service that this step depends on is missing or unreachable."""

    exit_code = 7


class NumericsError(DescantError):
    """A number that must be finite is not."""

    exit_code = 8


class BusyError(DescantError):
    """Another run holds the same address."""

    exit_code = 9


class Interrupted(DescantError):
    """Stopped on request after saving; the same command resumes."""

    exit_code = 75
