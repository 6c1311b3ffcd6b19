"""A tiny model under bitsandbytes, whose CPU build is enough."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

REASON = "bitsandbytes is not installed (pip install 'descant[quantised]')"


def write_tiny_llama(folder: Path) -> None:
    """Sizes that the 4-bit kernels take: multiples of 64."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        initializer_range=0.1,
        use_cache=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def load_quantised(
    folder: Path, bits: int, *, packs: bool = False, dtype: torch.dtype = torch.float32
) -> Any:
    """The model in ``folder`` with 8 or 4 (nf4) bits, in evaluation mode.

    ``packs``: leave it to bitsandbytes to pack 4-bit weights at the first pass, which it does on some CPUs only.
    """
    if bits == 8:
        settings = BitsAndBytesConfig(load_in_8bit=True)
    else:
        settings = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    model = AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=settings, dtype=dtype, device_map="cpu"
    )
    if not packs:
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
    return model.eval()
