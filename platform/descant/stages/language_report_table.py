"""The report of a language adaptation without HTML: Markdown for files, one table for the terminal."""

from typing import TYPE_CHECKING

from descant.evaluators.statistics import Interval
from descant.stages.corpora import BASE_LANGUAGE, CORPORA, LANGUAGE
from descant.stages.language_report_content import LanguageContent
from descant.stages.report_content import shown
from descant.stages.report_table import escaped, markdown_table

if TYPE_CHECKING:
    from rich.table import Table

EFFECTS = (
    ("tokens per text", lambda counts: counts["tokens"] / counts["texts"], ".1f"),
    ("tokens per word", lambda counts: counts["tokens"] / counts["words"], ".2f"),
    ("bytes per token", lambda counts: counts["bytes"] / counts["tokens"], ".2f"),
    ("share of new tokens", lambda counts: counts["new"] / counts["tokens"], ".1%"),
    ("share of fragments", lambda counts: counts["fragments"] / counts["tokens"], ".1%"),
)
"""What is shown of a tokenizer on a corpus, from the counts of ``vocab.side_effects``."""


def language_markdown(content: LanguageContent) -> str:
    """Everything the page says but its charts."""
    lines = [f"# {escaped(content.title)}", "", *(f"- {escaped(one)}." for one in content.sentences), ""]
    if content.side_effects:
        lines += ["## What the vocabulary does", "", *_effects(content), ""]
    lines += ["## Systems", "", *_systems(content), ""]
    if content.initialised:
        lines += ["## First rows of new tokens", "", *_initialised(content), ""]
    lines += ["## Training and writing", "", *_facts(content), "", "## Samples", "", *_samples(content)]
    lines += ["## Provenance", "", *_provenance(content), ""]
    return "\n".join([*lines, "## How to read the numbers", "", METHOD, ""])


METHOD = (
    "Bits per byte: the negative log-likelihood of held-out texts in bits over their bytes in UTF-8, comparable "
    "between tokenizers; lower is better. Intervals cover 95 % and resample texts, differences are of the same texts "
    "under two models. One training each: intervals speak of other texts, not of other seeds."
)


def terminal_systems(content: LanguageContent) -> "Table":
    """Systems by corpora and tasks, with what was found in words below."""
    from rich.table import Table
    from rich.text import Text

    caption = "\n".join(f"{one}." for one in content.sentences)
    table = Table(
        title=Text(content.title), caption=Text(caption), box=None, header_style="bold", padding=(0, 3, 0, 0)
    )
    table.title_justify = table.caption_justify = "left"
    heads, rows = system_rows(content)
    for head in heads:
        table.add_column(head)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def system_rows(content: LanguageContent) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of the main table."""
    tasks = list(dict.fromkeys(task for system in content.systems for task in system.tasks))
    heads = [
        "system",
        f"bits per byte, {LANGUAGE}",
        f"bits per byte, {BASE_LANGUAGE}",
        "tokens per kB",
        *tasks,
    ]
    rows = []
    for system in content.systems:
        cells = [with_interval(*content.bits[system.name, corpus]) for corpus in CORPORA]
        cells.append(f"{system.scores[LANGUAGE].tokens_per_kilobyte:.0f}")
        cells += [with_interval(*system.tasks[task]) if task in system.tasks else "" for task in tasks]
        rows.append([system.name, *cells])
    return heads, rows


def with_interval(value: float, interval: Interval) -> str:
    """``1.234 [1.200, 1.270]``."""
    return f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def effect_rows(content: LanguageContent) -> list[list[str]]:
    """A row for each property: language before and after, base language before and after."""
    found = []
    for name, value, form in EFFECTS:
        cells = [
            format(value(content.side_effects[corpus][which]), form)
            for corpus in ("language", "base_language")
            for which in ("base", "extended")
        ]
        found.append([name, *cells])
    return found


def _effects(content: LanguageContent) -> list[str]:
    heads = ["", "language, base", "language, extended", "base language, base", "base language, extended"]
    lost = [f"{content.side_effects[one]['lost']:,}" for one in ("language", "base_language")]
    return [
        *markdown_table(heads, effect_rows(content)),
        "",
        f"Texts that do not come back from their tokens: {lost[0]} in the language, {lost[1]} in the base language.",
    ]


def _systems(content: LanguageContent) -> list[str]:
    return markdown_table(*system_rows(content))


def _initialised(content: LanguageContent) -> list[str]:
    rows = []
    for one in content.initialised:
        before, after = content.initialiser_bits(one)
        rows.append([one.name, f"{before:.3f}", f"{after:.3f}"])
    heads = ["initialiser", "bits per byte before", f"after {content.compare_bytes:,} bytes"]
    return markdown_table(heads, rows)


def _facts(content: LanguageContent) -> list[str]:
    names = list(dict.fromkeys(name for system in content.systems for name in system.facts))
    rows = [[name, *(shown(system.facts.get(name)) for system in content.systems)] for name in names]
    return markdown_table(["", *(system.name for system in content.systems)], rows)


def _samples(content: LanguageContent) -> list[str]:
    lines = []
    for system in content.systems:
        for prompt, text in system.samples:
            lines += [f"- *{escaped(system.name)}*: {escaped(prompt)} **{escaped(text.strip())}**"]
    return [*(" ".join(line.split()) for line in lines), ""]


def _provenance(content: LanguageContent) -> list[str]:
    made = [f"- {name}: {shown(value)}" for facts in content.facts.values() for name, value in facts.items()]
    return [*made, *(f"- {escaped(name)}: `{address}`" for name, address in content.lineage.items())]
