"""Specs: frozen, fully validated settings, and how they are read from YAML and ``--set``.

A ``Spec`` says *what* is computed: it is hashed into the address of every result. A ``Compute`` says *how* (workers,
batch sizes that fit, devices): it has no identity and can never reach a fingerprint.
"""

import difflib
import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from descant.core.errors import ConfigError
from descant.core.request import Request
from descant.core.yaml_file import YamlDocument, parse_yaml, read_yaml

ALLOWED_VARIABLES = ("DESCANT_DATA", "DESCANT_JOBS")
"""Environment variables that a recipe may name as ``${NAME}``."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_PLACE = re.compile(r"[0-9]{1,9}")
SECRET_KEY = re.compile(r"secret|token$|passw|credential|authorization|(api|access|private)_?key", re.I)
"""Keys whose values are never shown, logged or kept."""

Model = TypeVar("Model", bound=BaseModel)


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
        protected_namespaces=(),
    )


class Spec(_Frozen):
    """Settings that change numbers. Unknown keys, NaN and infinity are refused."""

    def identity(self) -> Mapping[str, Any]:
        """The values that make up this spec's fingerprint; by default all of its fields."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Compute(_Frozen):
    """Settings that change speed or fit, never numbers; they cannot be fingerprinted."""

    @property
    def request(self) -> Request | None:
        """What a step that runs so asks of the cluster; nothing where it runs in the calling process."""
        return None

    def overridden(self, values: Mapping[str, Any]) -> Self:
        """A validated copy with ``values`` in place."""
        return type(self).model_validate({**self.model_dump(), **values})


def expand_variables(text: str) -> str:
    """Replace ``${DESCANT_DATA}`` by its value; raise ConfigError when it is not set or not allowed."""

    def value_of(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in ALLOWED_VARIABLES:
            raise ConfigError(
                "E-CFG-ENV",
                f"${{{name}}}",
                f"a recipe may only name {', '.join(ALLOWED_VARIABLES)}",
                "Nothing was read from the environment. Write the value, or keep it out of the recipe.",
            )
        if name not in os.environ:
            raise ConfigError(
                "E-CFG-ENV", f"${{{name}}}", "the variable is not set", f"Set it: export {name}=/path/to/data"
            )
        return os.environ[name]

    return _VARIABLE.sub(value_of, text)


def load_spec(cls: type[Model], path: Path, overrides: Sequence[str] = (), drop: Iterable[str] = ()) -> Model:
    """Read ``path`` as a ``cls``, with ``overrides`` of the form ``a.b=c`` put on top.

    ``drop`` names top-level keys that belong to the file but not to the spec. Raises ConfigError for anything that is
    not exactly what the spec declares, all problems at once, each with file and line.
    """
    document = with_overrides(read_yaml(path), overrides)
    values = {key: value for key, value in document.values.items() if key not in set(drop)}
    return build_spec(cls, YamlDocument(document.path, values, document.lines))


def build_spec(cls: type[Model], document: YamlDocument) -> Model:
    """Validate a parsed document as a ``cls``; every problem becomes one line of a ConfigError."""
    _check_variables(document.values, document, ())
    try:
        return cls.model_validate(document.values)
    except ValidationError as error:
        problems = [_explain(cls, problem, document) for problem in error.errors(include_url=False)]
        problems = list(dict.fromkeys(problems))
        where, first = problems[0]
        more = "".join(f"\n  {place}: {text}" for place, text in problems[1:])
        raise ConfigError(
            "E-CFG-VALUE", where, first + more, "Nothing was started. Correct the recipe and run it again."
        ) from None


def with_overrides(document: YamlDocument, overrides: Sequence[str]) -> YamlDocument:
    """A copy of ``document`` with each ``a.b=c`` set; ``c`` is read as YAML."""
    values = _copied(document.values)
    lines = dict(document.lines)
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise ConfigError("E-CFG-SET", f"--set {override}", "expected KEY=VALUE", "Write --set a.b=c.")
        parsed = parse_yaml(f"value: {text}", Path(f"--set {override}")).values["value"]
        parts: list[str | int] = [int(part) if _PLACE.fullmatch(part) else part for part in key.split(".")]
        _assign(values, parts, parsed, override)
        lines = {place: line for place, line in lines.items() if place[: len(parts)] != tuple(parts)}
    return YamlDocument(document.path, values, lines)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _assign(target: Any, parts: Sequence[str | int], value: Any, override: str) -> None:
    for part in parts[:-1]:
        if isinstance(target, dict) and isinstance(part, str):
            target = target.setdefault(part, {})
        elif isinstance(target, list) and isinstance(part, int) and part < len(target):
            target = target[part]
        else:
            raise ConfigError(
                "E-CFG-SET", f"--set {override}", f"'{part}' is not a section", "Check the key."
            )
    last = parts[-1]
    inside_list = isinstance(target, list) and isinstance(last, int) and last < len(target)
    if not inside_list and not (isinstance(target, dict) and isinstance(last, str)):
        raise ConfigError("E-CFG-SET", f"--set {override}", f"'{last}' is not a key here", "Check the key.")
    target[last] = value


def _check_variables(value: Any, document: YamlDocument, location: tuple[str | int, ...]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_variables(item, document, (*location, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _check_variables(item, document, (*location, i))
    elif isinstance(value, str) and "${" in value:
        try:
            expand_variables(value)
        except ConfigError as error:
            raise ConfigError(
                error.code, document.where(location), f"{error.where}: {error.problem}", error.remedy
            ) from None


def _explain(cls: type[BaseModel], problem: Any, document: YamlDocument) -> tuple[str, str]:
    """Where and what of one pydantic problem, in our words."""
    location, candidates = _locate(cls, problem["loc"], document.values)
    key = ".".join(map(str, location)) or "recipe"
    where = document.where(location)
    given = problem.get("input")
    if problem["type"] == "extra_forbidden":
        known = sorted({name for candidate in candidates for name in candidate.model_fields})
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return where, f"unknown key '{key}'; {hint}"
    if problem["type"] == "union_tag_not_found":
        kinds = ", ".join(str(_kind_of(c)) for c in candidates if _kind_of(c)) or "see descant explain"
        return where, f"'{key}.kind' is required and missing; one of {kinds}"
    if problem["type"] == "missing":
        return where, f"'{key}' is required and missing"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if SECRET_KEY.search(key) or isinstance(given, Mapping | list | BaseModel):
        return where, f"{key}: {message}"
    quote = "; quote it if text is meant" if "valid string" in message else ""
    return where, f"{key} = {given!r} ({type(given).__name__}): {message}{quote}"


def _locate(
    cls: type[BaseModel], loc: tuple[str | int, ...], values: Any
) -> tuple[tuple[str | int, ...], list[type[BaseModel]]]:
    """Drop pydantic's union tags from ``loc``; also the spec classes that could stand at its parent."""
    place: list[str | int] = []
    candidates: list[type[BaseModel]] = [cls]
    for i, part in enumerate(loc):
        known = (isinstance(values, Mapping) and part in values) or (
            isinstance(values, list) and isinstance(part, int) and part < len(values)
        )
        fields = [
            c.model_fields[part] for c in candidates if isinstance(part, str) and part in c.model_fields
        ]
        if not known and not fields and i < len(loc) - 1:
            tagged = [c for c in candidates if _kind_of(c) == part]
            candidates = tagged or candidates
            continue
        place.append(part)
        if i < len(loc) - 1:
            if fields:
                candidates = [c for field in fields for c in spec_classes(field.annotation)]
            values = values[part] if known else None
    return tuple(place), candidates


def _kind_of(cls: type[BaseModel]) -> Any:
    field = cls.model_fields.get("kind")
    choices = typing.get_args(field.annotation) if field else ()
    return choices[0] if choices else None


def spec_classes(annotation: Any) -> list[type[BaseModel]]:
    """Every spec class named anywhere inside a type annotation, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in typing.get_args(annotation) for found in spec_classes(part)]
