"""Does a training fit on a GPU? An estimate, from two published figures, against the card's memory.

Figures: PaddleFormers' best practice for PaddleOCR-VL reports, on an A100 with max_seq_len 16384 and batch 8, 30 GB
for full fine-tuning and 20 GB for LoRA. What does not depend on the batch follows from 0.96 B parameters: weights and
gradients in bf16 (2 + 2 bytes), AdamW's moments and the float32 master weights (4 + 4 + 4 bytes): 15.4 GB for full
fine-tuning; weights alone for LoRA, whose adapters are negligible: 1.9 GB. The rest grows with the tokens of one
forward pass (batch_size × row length, at most max_seq_len), by the rate that the two figures leave.
"""

from __future__ import annotations

from dataclasses import dataclass

from sft.errors import ConfigError

GB = 10**9  # bytes
PARAMETERS = 0.96e9
FULL_FIXED = PARAMETERS * (2 + 2 + 4 + 4 + 4) / GB  # GB
LORA_FIXED = PARAMETERS * 2 / GB
TOKENS_MEASURED = 16384  # tokens of a forward pass in the published runs: packed up to max_seq_len
FULL_RATE = (30 - FULL_FIXED) / TOKENS_MEASURED  # GB per token
LORA_RATE = (20 - LORA_FIXED) / TOKENS_MEASURED
RESERVE = 0.08  # share of a card that driver, CUDA context and fragmentation take

# Memory that Modal's cards have (GB), and whether they compute in bf16. Names are those of Modal's guide; A10G is an
# older one of A10.
CARDS: dict[str, tuple[float, bool]] = {
    "T4": (16, False),
    "L4": (24, True),
    "A10G": (24, True),
    "A10": (24, True),
    "L40S": (48, True),
    "A100": (40, True),
    "A100-40GB": (40, True),
    "A100-80GB": (80, True),
    "H100": (80, True),
    "H200": (141, True),
    "B200": (180, True),
    "RTX-PRO-6000": (96, True),
}
BLACKWELL = frozenset({"B200", "RTX-PRO-6000"})


def plain(gpu: str) -> str:
    """A card's name without what Modal may do about it: ``H100!`` (no upgrade), ``B200+`` (or a newer one)."""
    return gpu[:-1] if gpu in ("H100!", "B200+") else gpu


def unusable(gpu: str) -> str:
    """Why no training can run on what Modal calls ``gpu``; empty where one can."""
    if plain(gpu) in BLACKWELL:
        return (
            f"{gpu} is a Blackwell card: Paddle's wheels for CUDA 12.6 have no code for it, and 12.9 has none here yet"
        )
    if plain(gpu) in CARDS:
        return ""
    names = ", ".join(card for card in [*CARDS, "H100!"] if card not in BLACKWELL)
    if ":" in gpu:
        return f"a training runs on one GPU, and {gpu} asks for more: use one of {names}"
    return f"Modal has no GPU {gpu}: use one of {names}"


@dataclass(frozen=True)
class Estimate:
    """``needed`` and ``usable`` are GB."""

    needed: float
    usable: float

    @property
    def fits(self) -> bool:
        """Is there room?"""
        return self.needed <= self.usable


def needed(tokens: int, *, lora: bool) -> float:
    """GB of a training whose forward pass has ``tokens`` tokens. Example: needed(16384, lora=True) → 20."""
    return LORA_FIXED + LORA_RATE * tokens if lora else FULL_FIXED + FULL_RATE * tokens


def largest_tokens(usable: float, *, lora: bool) -> int:
    """Tokens of a forward pass that fit into ``usable`` GB, as a multiple of 256; 0 where nothing fits."""
    fixed, rate = (LORA_FIXED, LORA_RATE) if lora else (FULL_FIXED, FULL_RATE)
    return max(0, int((usable - fixed) / rate) // 256 * 256)


def check(gpu: str, max_seq_len: int, *, lora: bool, bf16: bool) -> Estimate | None:
    """The estimate for a card, or None for a card that is not known here.

    Raises:
        ConfigError: it cannot fit, with the numbers and what would.
    """
    if plain(gpu) not in CARDS:
        return None
    memory, has_bf16 = CARDS[plain(gpu)]
    estimate = Estimate(needed(max_seq_len, lora=lora), memory * (1 - RESERVE))
    if bf16 and not has_bf16:
        raise ConfigError(
            "the card does not compute in bf16", where="modal.gpu", value=gpu, remedy="use A10G, L4, A100-80GB or H100"
        )
    if not estimate.fits:
        most = largest_tokens(estimate.usable, lora=lora)
        smaller = f"train.max_seq_len={most}" if most >= 1024 else "LoRA (engine paddleformers, train.lora.rank=8)"
        raise ConfigError(
            f"the training cannot fit: about {estimate.needed:.0f} GB are needed, {estimate.usable:.0f} GB usable",
            where="modal.gpu",
            value=f"{gpu} with {memory:.0f} GB, train.max_seq_len {max_seq_len}",
            remedy=f"use {smaller}, or a larger card such as A100-80GB",
        )
    return estimate
