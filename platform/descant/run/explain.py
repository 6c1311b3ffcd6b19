"""Every setting of a job with its meaning, read from the specs themselves."""

import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from descant.core.spec import spec_classes

if TYPE_CHECKING:
    from rich.tree import Tree


def explain_job(cls: type[BaseModel]) -> "Tree":
    """A tree of sections and settings: name, type, default, sentence."""
    from rich.tree import Tree

    tree = Tree(f"[bold]{cls.__name__}[/bold]  {_first_line(cls)}")
    _add_fields(tree, cls, depth=0)
    return tree


def _add_fields(tree: "Tree", cls: type[BaseModel], depth: int) -> None:
    for name, field in cls.model_fields.items():
        classes = spec_classes(field.annotation)
        meaning = " ".join((field.description or "").split())
        line = f"[cyan]{name}[/cyan] [dim]{_type_name(field, classes)}{_default(field)}[/dim]  {meaning}"
        branch = tree.add(line)
        if depth > 3:
            continue
        for inner in classes:
            if len(classes) == 1:
                _add_fields(branch, inner, depth + 1)
            else:
                kind = inner.model_fields["kind"].default if "kind" in inner.model_fields else inner.__name__
                option = branch.add(f"[green]kind: {kind}[/green]  {_first_line(inner)}")
                _add_fields(option, inner, depth + 1)


def _type_name(field: FieldInfo, classes: list[type[BaseModel]]) -> str:
    if len(classes) > 1:
        return "one of"
    if classes:
        return "section"
    annotation: Any = field.annotation
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(map(str, typing.get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation)).replace("typing.", "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ", required"
    if isinstance(field.default, BaseModel) or field.default_factory is not None:
        return ""
    return f" = {field.default!r}"


def _first_line(cls: type[BaseModel]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]
