"""What was generated, how fast, and how much of it in tokens that the base did not have."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from descant.models.generate import Generated


def generation_counts(
    answers: Sequence[Generated], *, seconds: float, special_ids: Collection[int], first_new: int | None
) -> dict[str, float]:
    """Counts of answers that were generated together in ``seconds``; those of different batches add up.

    Ids from ``first_new`` on are new. Special tokens are neither new nor old: they are not counted there.
    """
    counts: dict[str, float] = {
        "generated": sum(one.tokens for one in answers),
        "generated_rows": len(answers),
        "generated_bytes": sum(len(one.text.encode()) for one in answers),
        "generating_seconds": seconds,
    }
    if first_new is not None:
        ids = [i for one in answers for i in one.ids if i not in special_ids]
        counts |= {"plain_tokens": len(ids), "new_tokens": sum(i >= first_new for i in ids)}
    return counts


def generation_facts(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the manifest says about the parts' counts together; nothing where nothing was generated.

    ``new_token_share`` is there where new tokens were counted. Rates are over the seconds of generating alone.
    """
    total: Counter[str] = Counter()
    for part in parts:
        total.update({name: value for name, value in part.items() if name in _COUNTS})
    seconds = total["generating_seconds"]
    if not total["generated"] or not seconds:
        return {}
    facts = {
        "generated_tokens": total["generated"],
        "generated_bytes": total["generated_bytes"],
        "tokens_per_second": round(total["generated"] / seconds, 1),
        "bytes_per_second": round(total["generated_bytes"] / seconds, 1),
        "examples_per_second": round(total["generated_rows"] / seconds, 3),
    }
    if "new_tokens" in total:
        facts["new_token_share"] = total["new_tokens"] / max(1, total["plain_tokens"])
    return facts


_COUNTS = {
    "generated",
    "generated_rows",
    "generated_bytes",
    "generating_seconds",
    "plain_tokens",
    "new_tokens",
}
