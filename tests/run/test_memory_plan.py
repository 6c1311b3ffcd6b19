"""The memory of a worker, against models that are adapted and stepped by DeepSpeed for real."""

import gc
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from safetensors.torch import save_file

from descant.adapters import AnyMethod, Dora, Full, Lora, Svft
from descant.artifacts.models import AnyModel, FolderModel, MadeModel, TinyModel
from descant.models.skeleton import headed_skeleton
from descant.run.compare.comparison import Comparison
from descant.run.job import load_recipe
from descant.run.memory_plan import ZERO_BUFFER, Memory, memory_of, memory_of_steps, size
from descant.run.profile import Profile
from descant.stages.base import Step, in_order
from descant.stages.compute_bases import ComputeBases
from descant.stages.held import Held
from descant.stages.training.settings import BatchPlan, TaskTrainSettings, TrainCompute
from tests.models.peak import Peak

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "jobs" / "recipes"
LLAMA, BERT = TinyModel(architecture="llama"), TinyModel(architecture="bert")
TRAINED = Held(LLAMA, "fp32", ((2, 16),), head="next token", trains=Full())


def bytes_of(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("model", [BERT, LLAMA], ids=["bert", "llama"])
@pytest.mark.parametrize(
    "method",
    [
        Full(),
        Lora(r=4),
        Dora(r=4),
        Svft(),
        Svft(pattern="banded", off_diagonals=2),
        Svft(execution="factored"),
    ],
    ids=["full", "lora", "dora", "svft", "banded", "factored"],
)
def test_weights_bases_and_gradients_are_those_of_the_adapted_model(
    model: AnyModel, method: AnyMethod
) -> None:
    from descant.models.load import load_model

    adapted = method.attach(load_model(model)[0], seed=0)
    bases = [
        tensor
        for name, tensor in adapted.named_buffers()
        if name.rsplit(".", 1)[-1] in ("u_or", "s_r", "v_ir", "bias_o")
    ]
    found = memory_of(Held(model, "fp32", ((1, 8),), trains=method), TrainCompute(workers=0))
    trained = [p for p in adapted.parameters() if p.requires_grad]
    assert found.weights == bytes_of(adapted.parameters())
    assert found.bases == bytes_of(bases)
    assert found.gradients == bytes_of(trained)
    assert found.optimiser == 2 * bytes_of(trained)


@dataclass
class Stepped:
    """What DeepSpeed asks of an objective."""

    module: torch.nn.Module
    precision: str
    num_steps: int = 5
    plan: BatchPlan = field(default_factory=lambda: BatchPlan(1, 2, 1))

    def rates(self) -> Mapping[Any, float]:
        return {}

    starts = rates


def alive() -> dict[int, int]:
    """The bytes of every storage that a tensor of this process refers to, the buffer of ZeRO left out."""
    found = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, torch.nn.Parameter):
            for tensor in (thing, thing.grad if thing.is_leaf else None):
                if tensor is not None and tensor.untyped_storage().nbytes() < ZERO_BUFFER:
                    found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return found


def stepped(precision: Any, zero: int) -> tuple[int, int]:
    """After the backward pass of a second step: bytes of all tensors, and of AdamW's moments."""
    from descant.models.load import load_causal_model
    from descant.stages.training.engine import build_engine
    from descant.stages.training.workers import join_group

    join_group("cpu")
    gc.collect()
    before = alive()
    model = Full().attach(load_causal_model(LLAMA, precision=precision)[0], seed=0)
    settings = TaskTrainSettings(method=Full(), learning_rate=1e-3, global_batch=2)
    objective: Any = Stepped(model, precision)
    engine = build_engine(objective, settings, TrainCompute(workers=0, zero=zero))
    ids = torch.ones(1, 4, dtype=torch.int64)
    for step in range(2):
        engine.set_gradient_accumulation_boundary(True)
        engine.backward(engine(input_ids=ids).logits.float().pow(2).mean())
        if step == 1:
            gc.collect()
            found = sum(num_bytes for where, num_bytes in alive().items() if where not in before)
        engine.step()
    optimizer = getattr(engine.optimizer, "optimizer", engine.optimizer)
    moments = [s[name] for s in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    engine.destroy()
    return found, bytes_of(moments)


@pytest.mark.parametrize(
    ("precision", "zero", "each"),
    [
        ("fp32", 0, 16),
        ("fp32", 1, 20),
        ("bf16", 0, 16),
        ("bf16", 2, 16),
        pytest.param("fp32", 3, 20, marks=pytest.mark.slow),
    ],
)
def test_engine_holds_what_is_said(precision: Any, zero: int, each: int) -> None:
    held = Held(LLAMA, precision, ((1, 4),), head="next token", trains=Full())
    said = memory_of(held, TrainCompute(workers=0, zero=zero))
    params = sum(p.numel() for p in headed_skeleton(LLAMA, "next token").parameters())
    assert said.total - (said.activations or 0) == each * params
    found, moments = stepped(precision, zero)
    copy = 4 * params if zero or precision == "bf16" else 0
    assert moments == said.optimiser - copy
    assert 0 <= found - each * params < 0.002 * found  # ids, positions, counts of steps


def in_group(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'group'}", rank=rank, world_size=2
    )
    found = {str(zero): stepped("fp32", zero) for zero in (0, 1, 2, 3)}
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    torch.distributed.barrier()


@pytest.mark.slow
def test_two_workers_share_what_is_said(tmp_path: Path) -> None:
    mp.spawn(in_group, (tmp_path,), nprocs=2)
    found = json.loads((tmp_path / "found.json").read_text())
    for zero, (all_bytes, moments) in found.items():
        compute = TrainCompute(workers=2, zero=int(zero))
        said = memory_of(TRAINED, compute)
        params = sum(p.numel() for p in headed_skeleton(LLAMA, "next token").parameters())
        assert moments == pytest.approx(8 * params / (2 if int(zero) else 1), rel=0.01), zero  # padding
        exact = said.total - (said.activations or 0)
        if zero == "1":  # in steps of one micro-batch, which need no whole gradient
            exact -= said.gradients // 2
        assert all_bytes == pytest.approx(exact, rel=0.02), zero


def test_zero_divides_by_the_workers_from_its_stage_on() -> None:
    whole = memory_of(TRAINED, TrainCompute(workers=4, zero=0))
    one, two, three = (memory_of(TRAINED, TrainCompute(workers=4, zero=zero)) for zero in (1, 2, 3))
    assert one.weights == two.weights == whole.weights
    assert three.weights == whole.weights // 4 + whole.weights  # so small a model is gathered all at once
    assert (one.gradients, two.gradients * 4, three.gradients * 4) == (whole.gradients,) * 3
    assert one.optimiser * 4 == whole.optimiser * 3 // 2
    assert one.optimiser == two.optimiser == three.optimiser
    assert one.activations == whole.activations


def test_zero_on_a_gpu_has_its_buffer() -> None:
    cpu, gpu = (memory_of(TRAINED, TrainCompute(workers=2, zero=1, gpus_per_worker=gpus)) for gpus in (0, 1))
    assert gpu.gradients - cpu.gradients == 500_000_000 * 4
    assert memory_of(TRAINED, TrainCompute(workers=2, gpus_per_worker=1)).gradients == cpu.gradients


@pytest.mark.parametrize("dropout", [0.0, 0.05])
def test_dropout_of_an_adapter_is_part_of_the_activations(dropout: float) -> None:
    from descant.models.load import load_model

    method = Lora(r=2, lora_dropout=dropout)
    model = load_model(BERT)[0]
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    adapted = method.attach(model, seed=0).train()
    ids = torch.ones(4, 64, dtype=torch.int64)
    with Peak(adapted) as peak:
        adapted(input_ids=ids, attention_mask=ids).last_hidden_state.pow(2).mean().backward()
    found = memory_of(Held(BERT, "fp32", ((4, 64),), trains=method), TrainCompute(workers=0))
    assert found.activations is not None
    assert 2 / 3 < found.activations / peak.num_bytes < 3 / 2


def planned(recipe: str, profile: Profile) -> dict[str, tuple[Step, Memory | None]]:
    job = load_recipe(RECIPES / recipe).job
    steps = in_order(job.steps().values())
    memory = memory_of_steps(steps, profile)
    return {step.label: (step, memory[step.label]) for step in steps if step.label in memory}


def test_steps_with_a_model_are_planned_and_no_others() -> None:
    found = planned("finetune_retriever/smoke.yaml", Profile())
    assert {step.stage.name for step, _ in found.values()} == {"train", "embed"}
    trained = [memory for step, memory in found.values() if step.stage.name == "train"]
    read = [memory for step, memory in found.values() if step.stage.name == "embed"]
    assert all(memory is not None and memory.optimiser > 0 for memory in trained)
    assert all(memory is not None and memory.optimiser == 0 < memory.weights for memory in read)


def test_reader_of_a_trained_model_holds_the_bases_of_its_method() -> None:
    job = load_recipe(RECIPES / "compare_adapters/smoke.yaml").job
    assert isinstance(job, Comparison)
    readers = {s.fingerprint: s for s in job.corner_steps() if s.stage.name == "evaluate_task"}.values()
    seen = set()
    for reader in readers:
        trained, read = memory_of_steps([reader.inputs["model"], reader], Profile()).values()
        assert trained is not None
        assert read is not None
        assert (read.weights, read.bases) == (trained.weights, trained.bases)
        assert (read.gradients, read.optimiser) == (0, 0)
        assert (read.bases > 0) == ("svft" in reader.inputs["model"].label)
        seen.add(read.bases > 0)
    assert seen == {True, False}


def test_steps_of_one_label_are_planned_by_the_one_that_needs_most() -> None:
    small, large = (Step("decompose", ComputeBases(model=BERT, precision=p)) for p in ("bf16", "fp32"))
    for steps in ([small, large], [large, small]):
        found = memory_of_steps(steps, Profile())["decompose"]
        assert found == memory_of_steps([large], Profile())["decompose"]
        assert found is not None
        assert found.weights == bytes_of(headed_skeleton(BERT, "none").parameters())


def test_model_that_is_not_made_yet_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCANT_STORE", str(tmp_path))
    stage = ComputeBases(model=MadeModel(address="convert_model/0123456789ab"))
    memory = memory_of_steps([Step("decompose", stage)], Profile())
    assert memory == {"decompose": None}


def test_llama_of_seven_billion_is_counted_without_its_weights(tmp_path: Path) -> None:
    """Llama 2 7B: 6,738,415,616 parameters; LoRA of rank 16 on its linear layers adds 39,976,960."""
    config = {"model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008}
    config |= {"num_hidden_layers": 32, "num_attention_heads": 32, "tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.json").write_text("{}")
    save_file({"nothing": torch.zeros(1)}, tmp_path / "model.safetensors")
    held = Held(FolderModel(path=str(tmp_path)), "bf16", ((8, 512),), head="next token", trains=Lora(r=16))
    found = memory_of(held, TrainCompute(workers=0, gradient_checkpointing=True))
    assert found.weights == 2 * (6_738_415_616 + 39_976_960)
    assert found.gradients == 2 * 39_976_960
    assert found.optimiser == 12 * 39_976_960


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(512, "512 B"), (1536, "1.5 KiB"), (3 << 20, "3 MiB"), (27 << 28, "6.8 GiB")]
)
def test_size_is_readable(num_bytes: int, text: str) -> None:
    assert size(num_bytes) == text
