"""A made-up study, as large as a real one: eight methods, two tasks, three seeds, one failed method."""

import numpy as np

from descant.evaluators.study import Budget, CurvePoint, Entry, FinalRun, Study, StudyTask, Trial

# name, gain in score, trainable parameters, MB at the peak, tokens/s
METHODS = (
    ("lora-r16-all-linear", 0.115, 2_359_296, 1480, 5200),
    ("dora-r16-all-linear", 0.118, 2_433_024, 1910, 3900),
    ("svft-banded-d8-top-half-of-layers", 0.112, 411_648, 1530, 4700),
    ("svft-plain", 0.085, 36_864, 1490, 4800),
    ("vera-r256", 0.082, 61_440, 1460, 5000),
    ("boft-m2-b8", 0.060, 1_179_648, 2650, 2100),
    ("full", 0.121, 124_439_808, 4210, 3100),
    ("prompt-tuning-20-virtual-tokens", 0.0, 15_360, 1700, 4300),
)
FAILED = "prompt-tuning-20-virtual-tokens"
TASKS = (("boolq-passages", "accuracy", 0.62), ("commonsense-multiple-choice", "accuracy", 0.41))


def synthetic_study(*, num_rows: int = 400, num_seeds: int = 3, num_trials: int = 8) -> Study:
    tasks, entries = [], []
    for name, measure, level in TASKS:
        generator = np.random.default_rng(len(name))
        ids = [f"{name}-{i}" for i in range(num_rows)]
        hardness = generator.uniform(0, 1, num_rows)
        base = {i: float(h < level) for i, h in zip(ids, hardness, strict=True)}
        tasks.append(StudyTask(name, measure, True, 250, num_rows, base, 1.0421, level))
        for method, gain, parameters, megabytes, speed in METHODS:
            trials = tuple(
                trial(generator, number, level + gain, failed=method == FAILED)
                for number in range(num_trials)
            )
            chosen = max(trials, key=lambda t: t.score or 0.0).setting
            finals = [
                FinalRun(
                    seed=seed,
                    setting=chosen,
                    score_by_measure={measure: float(np.mean(list(scores.values()))), "loss": 0.5},
                    scores=scores,
                    trainable_parameters=parameters,
                    declared_parameters=parameters,
                    adapter_bytes=4 * parameters + 1200,
                    peak_memory_bytes=(megabytes << 20) + seed * 4096,
                    tokens_per_second=speed * (1 + 0.01 * seed),
                    training_seconds=600_000 / speed,
                    seconds_to_quality=None if gain < 0.08 or seed == gain else 300_000 / speed,
                    curve=losses(generator, 160, 0.9 - 3 * gain),
                    forgetting=1.0421 + 0.3 * gain * (3 if method == "full" else 0.4),
                    links={
                        "model": f"train_task/{seed}f3a9c{len(method):02d}be2d",
                        "scores": f"evaluate_task/{seed}c0ffee{len(method):02d}aa",
                    },
                )
                for seed in range(1, num_seeds + 1)
                for scores in [answers(generator, ids, hardness, level + gain)]
            ]
            entries.append(Entry(name, method, trials, () if method == FAILED else tuple(finals)))
    return Study(
        name="adapters-on-a-small-model",
        base="HuggingFaceTB/SmolLM2-135M@93efa2f097d58c2a74874c7e644dbc9b0cee75a2",
        seed=17,
        tasks=tuple(tasks),
        methods=tuple(m[0] for m in METHODS),
        entries=tuple(entries),
        budget=Budget("trials", num_trials),
        scheduler="asha",
        search="tpe",
        provenance={
            "recipe": "jobs/recipes/compare_adapters/text.yaml",
            "descant": "0.1.0",
            "commit": "0123abc",
            "torch": "2.13.0",
            "device": "cpu, 2 cores",
        },
    )


def answers(
    generator: np.random.Generator, ids: list[str], hardness: np.ndarray, level: float
) -> dict[str, float]:
    right = hardness + generator.normal(0, 0.15, len(ids)) < level + generator.normal(0, 0.006)
    return {i: float(r) for i, r in zip(ids, right, strict=True)}


def losses(generator: np.random.Generator, num_steps: int, floor: float) -> tuple[CurvePoint, ...]:
    steps = range(1, num_steps + 1)
    return tuple(
        CurvePoint(s, floor + 1.6 * float(np.exp(-s / 30)) + 0.05 * float(generator.normal())) for s in steps
    )


def trial(generator: np.random.Generator, number: int, level: float, *, failed: bool) -> Trial:
    rate = float(10 ** generator.uniform(-5, -2))
    setting = {
        "learning_rate": rate,
        "scheduler": str(generator.choice(["cosine", "linear"])),
        "epochs": int(generator.choice([1, 2, 3])),
    }
    if failed:
        cause = "PEFT refuses prompt tuning for a classifier without a generation head"
        return Trial(number, setting, "failed", None, (), 2.5, cause)
    if rate > 7e-3:
        return Trial(number, setting, "non-finite", None, (), 14.0, "loss is nan at step 12")
    best = level - 0.03 * (np.log10(rate) + 3.2) ** 2 + 0.01 * generator.normal()
    stopped = number % 3 == 2
    points = [CurvePoint(40 * k, float(best - 0.15 * np.exp(-k))) for k in range(1, 3 if stopped else 6)]
    return Trial(
        number,
        setting,
        "stopped" if stopped else "finished",
        points[-1].score,
        tuple(points),
        30.0 * len(points),
        "",
    )
