"""Results and registered versions as tables for the terminal."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from descant.artifacts.manifest import Manifest
from descant.artifacts.store import Store
from descant.evaluators.statistics import p_text
from descant.run.versions import Version

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from descant.run.paired import Pairing


def results_table(store: Store) -> "Table":
    """Every finished result."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("result", "step", "rows", "size", "rejected", "finished"):
        table.add_column(heading, justify="right" if heading in ("rows", "size", "rejected") else "left")
    for artifact in store.all():
        manifest = artifact.manifest
        table.add_row(
            artifact.address,
            manifest.label,
            f"{manifest.rows:,}",
            human_bytes(manifest.bytes),
            str(len(manifest.rejected)) if manifest.rejected else "",
            manifest.finished,
        )
    return table


def result_page(store: Store, fingerprint: str) -> "Group":
    """One result: its spec, facts and parts, and all of its ancestry."""
    from rich.console import Group
    from rich.json import JSON
    from rich.text import Text

    artifact = store.resolve(fingerprint)
    manifest = artifact.manifest
    shown = {
        "label": manifest.label,
        "spec": manifest.spec,
        "facts": manifest.facts,
        "rejected": [row.model_dump() for row in manifest.rejected[:20]],
        "provenance": manifest.provenance,
        "started": manifest.started,
        "finished": manifest.finished,
    }
    lines = [f"{artifact.address}   {artifact.folder}", "", "parts:"]
    lines += [
        f"  {p.name:<24} {p.rows:>8,} rows  {human_bytes(p.bytes):>9}  {p.sha256[:12]}"
        for p in manifest.parts
    ]
    lines += ["", "made from:", *_ancestry(store, manifest, 1), ""]
    return Group(Text("\n".join(lines)), JSON(json.dumps(shown)))


def versions_table(versions: Sequence[Version]) -> "Table":
    """Registered versions: aliases, scores with their intervals, and what decided about promotion."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("version", "alias", "scores", "promotion", "registered"):
        table.add_column(heading)
    for version in versions:
        scores = [
            f"{key.removeprefix('score.')} {value}"
            for key, value in sorted(version.tags.items())
            if key.startswith("score.")
        ]
        table.add_row(
            version.uri,
            ", ".join(version.aliases),
            "\n".join(scores),
            version.tags.get("promotion", ""),
            f"{version.created:%Y-%m-%d %H:%M}",
        )
    return table


def version_page(version: Version) -> "Table":
    """One version with all it says about where it came from."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("version", version.uri)
    table.add_row("aliases", ", ".join(version.aliases) or "none")
    for key, value in sorted(version.tags.items()):
        table.add_row(key, Text(value if len(value) <= 200 else f"{value[:200]} …"))
    return table


def pairing_page(pairing: "Pairing") -> "Group":
    """Two versions side by side, and what the paired test of their scores shows."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("version", "alias", pairing.measure, "difference", "95 % interval", "p", "better on"):
        table.add_column(heading, justify="left" if heading in ("version", "alias") else "right")
    found, (low, high) = pairing.difference, pairing.difference.interval
    first, second = pairing.first, pairing.second
    table.add_row(
        first.uri,
        ", ".join(first.aliases),
        f"{pairing.means[0]:.4f}",
        f"{found.mean:+.4f}",
        Text(f"[{low:+.4f}, {high:+.4f}]"),
        p_text(found.p_value).removeprefix("p ").removeprefix("= "),
        f"{found.wins:,}",
    )
    table.add_row(
        second.uri, ", ".join(second.aliases), f"{pairing.means[1]:.4f}", "", "", "", f"{found.losses:,}"
    )
    shows = {
        "better": f"{first.uri} is better",
        "worse": f"{second.uri} is better",
        "no difference shown": "No difference is shown",
    }[found.verdict]
    return Group(
        table,
        Text(
            f"\n{shows}: paired randomisation test on the same {pairing.num_examples:,} examples, {found.ties:,} tied."
        ),
    )


def _ancestry(store: Store, manifest: Manifest, depth: int) -> list[str]:
    lines = []
    for name, address in manifest.inputs.items():
        upstream = store.find(*address.split("/"))
        label = upstream.manifest.label if upstream else "no longer in the store"
        lines.append(f"{'  ' * depth}{name}: {address} ({label})")
        if upstream is not None:
            lines += _ancestry(store, upstream.manifest, depth + 1)
    return lines


def human_bytes(size: float) -> str:
    """A size with a unit: ``1.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
