"""Reading YAML so that nothing is understood differently from how it was meant.

Plain ``yaml.safe_load`` keeps the last of two equal keys, reads ``1e-5`` as a string, ``no`` as False, ``0123`` as
83 and ``12:30:45`` as 45045. Here each of these is either read as YAML 1.2 reads it or refused with its line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from descant.core.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_DEPTH = 64

_NULL = re.compile(r"^(~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?(0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_SPECIAL_FLOAT = re.compile(r"^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")
_AMBIGUOUS = {
    re.compile(r"^(yes|no|on|off|y|n)$", re.I): "a boolean to YAML 1.1 and a string to YAML 1.2",
    re.compile(r"^[-+]?0[0-9_]+$"): "an octal number to YAML 1.1 and a decimal one to YAML 1.2",
    re.compile(
        r"^[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?$"
    ): "a base-60 number to YAML 1.1 and a string to YAML 1.2",
    re.compile(r"^[-+]?[0-9][0-9]*_[0-9_]*$"): "a number to YAML 1.1 and a string to YAML 1.2",
    re.compile(r"^[-+]?0[xob][0-9a-fA-F_]+$"): "a number in one YAML version and a string in another",
}


@dataclass(frozen=True)
class YamlDocument:
    """A parsed mapping, and for every path in it the line it stands on (for messages)."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[tuple[str | int, ...], int]

    def where(self, location: tuple[str | int, ...]) -> str:
        """``file:line`` of the deepest known part of ``location``."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return f"{self.path}:{self.lines[location[:end]]}"
        return str(self.path)


def read_yaml(path: Path) -> YamlDocument:
    """Read one YAML mapping from ``path``.

    Raises ConfigError (with the line) for a missing file, more than 1 MiB, bytes that are not UTF-8, aliases, tags,
    duplicate keys, nesting beyond 64 levels, and plain scalars that YAML versions read differently.
    """
    if not path.is_file():
        raise ConfigError("E-CFG-FILE", str(path), "there is no such file", "Check the path of the recipe.")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(
            "E-CFG-SIZE",
            str(path),
            f"{path.stat().st_size} bytes, the limit is {MAX_BYTES}",
            "Shorten the file.",
        )
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            "E-CFG-UTF8", str(path), f"byte {error.start} is not UTF-8", "Save the file as UTF-8."
        ) from None
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> YamlDocument:
    """Parse ``text`` as ``read_yaml`` does; ``path`` is used in messages only."""
    try:
        _refuse_unwanted_events(text, path)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError("E-CFG-YAML", where, f"not valid YAML ({problem})", "Correct the line.") from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(
            "E-CFG-YAML", str(path), "expected 'key: value' lines at the top level", "Write a mapping."
        )
    lines: dict[tuple[str | int, ...], int] = {}
    values = _construct(root, path, (), lines)
    return YamlDocument(path, values, lines)


def parse_scalar(text: str, where: str) -> Any:
    """The value of a plain scalar by YAML 1.2's core rules; ambiguous ones raise ConfigError at ``where``."""
    for pattern, why in _AMBIGUOUS.items():
        if pattern.match(text):
            parsed = yaml.safe_load(text)
            raise ConfigError(
                "E-CFG-AMBIGUOUS",
                where,
                f"{text!r} is {why} (parsed as {parsed!r}, {type(parsed).__name__}, by many readers)",
                f"If text is meant, quote it: '{text}'; otherwise write true, false or a plain decimal number.",
            )
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text.lower() == "true"
    if _INT.match(text):
        return _bounded_int(text, where)
    if _SPECIAL_FLOAT.match(text):
        return float(text.replace(".", "", 1))
    if _FLOAT.match(text):
        return float(text)
    return text


def _bounded_int(text: str, where: str) -> int:
    if len(text) > 300:
        raise ConfigError(
            "E-CFG-RANGE", where, f"an integer of {len(text)} digits", "Write a smaller number."
        )
    return int(text)


def _refuse_unwanted_events(text: str, path: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = f"{path}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(
                "E-CFG-ALIAS", where, f"the alias '*{event.anchor}' is not allowed", "Write the value out."
            )
        tag = getattr(event, "tag", None)
        if tag is not None and isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            raise ConfigError("E-CFG-TAG", where, f"the tag '{tag}' is not allowed", "Remove the tag.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ConfigError(
                    "E-CFG-DEPTH", where, f"nested deeper than the limit of {MAX_DEPTH}", "Flatten the file."
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _construct(
    node: yaml.Node, path: Path, location: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]
) -> Any:
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _construct_mapping(node, path, location, lines)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, path, (*location, i), lines) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.style is None:
        where = f"{path}:{node.start_mark.line + 1}"
        return parse_scalar(node.value, f"{where} ({'.'.join(map(str, location))})")
    return node.value


def _construct_mapping(
    node: yaml.MappingNode,
    path: Path,
    location: tuple[str | int, ...],
    lines: dict[tuple[str | int, ...], int],
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(
                "E-CFG-KEY", f"{path}:{line}", "a key must be plain text", "Write 'key: value'."
            )
        key = key_node.value
        here = (*location, key)
        if key in values:
            raise ConfigError(
                "E-CFG-DUPLICATE",
                f"{path}:{line}",
                f"the key '{key}' stands twice, first on line {lines[here]} and again on line {line}",
                "Keep one of them.",
            )
        lines[here] = line
        values[key] = _construct(value_node, path, here, lines)
    return values
