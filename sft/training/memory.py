"""Does a training fit on a GPU? An estimate by the tokens of one forward pass, against the card's memory.

What does not depend on the rows follows from 0.96 B parameters: weights and gradients in bf16 (2 + 2 bytes), AdamW's
moments and the float32 master weights (4 + 4 + 4 bytes), 15.4 GB for full fine-tuning (a log shows 14.6 GB between two
steps, gradients released: PaddlePaddle/ERNIE issue 1429); the weights alone for LoRA, whose adapters are negligible.

The rest grows with the tokens of a forward pass. With recomputation what counts is the end of the model: for each token
a logit for each entry of the vocabulary, in bf16, in float32, and its gradient in float32: 1.03 MB. PaddleFormers puts
batch_size whole rows into a pass, ERNIEKit packs them until max_seq_len is full. Kernels of flash attention add next to
nothing; without them (float16: cards before Ampere) a layer holds a score for each pair of positions, in the text of
each row, and in the vision encoder of all patches of all images of a pass.

What was published for PaddleFormers, GB a card, all with recomputation (examples/best_practices, its two folders):

    Bengali lines, A100       batch 8, full 30, LoRA 20
    the same, 4090D of 24 GB  batch 4, preallocated: full 18, LoRA 12
    1.5, tables, 8 × A800     batch 8, full 37, LoRA 33 (optimiser state shared by 8 cards: 1.4 GB of it on each)
    1.5, regions, 8 × A800    batch 16, full 36, LoRA 33

None tells its rows' tokens. By the rate above the heaviest pass has 1,770 tokens a row for the Bengali lines, which is
what LoRA's rate is taken from (adapters keep their inputs: 1.28 MB), 3,850 for the tables, 1,860 for the regions.
The same architecture in torch takes 1.77 and 1.50 MB a token (docs/verified.md): rows of 1,000 tokens would explain the
figures, too. So this is right within a half, not more: what it calls too much is a warning, except where no rows could
be small enough. Trainers *reserve* up to twice what they need where a card has it (issue 1429: 21 GB used, 48 GB
reserved).

Of several cards that train together each has a whole copy, and beside it the buckets in which gradients are summed: as
large as the gradients again, in float32 (torch's DistributedDataParallel, "Internal Design"; not measured here).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sft.errors import ConfigError
from sft.training.cards import Card

GB = 10**9  # bytes
PARAMETERS = 0.96e9
FULL_FIXED = PARAMETERS * (2 + 2 + 4 + 4 + 4) / GB  # GB
LORA_FIXED = PARAMETERS * 2 / GB
VOCABULARY = 103_424  # entries
FULL_RATE = VOCABULARY * (2 + 4 + 4) / GB  # GB per token
LORA_RATE = 1.28e-3
BUCKETS = PARAMETERS * 4 / GB  # GB, of several cards each
MOST_CARDS = 8
FEWER = {"A10": 4, "A10G": 4}  # cards of a machine that has fewer
HEADS = 16  # of the text model and of the vision encoder alike
SCORE = 12  # bytes held for a pair of positions: scores and masked scores in float16, softmax in float32, gradients
PATCHES = 4  # of an image, for each of its tokens
LEAST_ROW = 200  # tokens of the smallest row: an image of the processor's min_pixels (188), prompt, a word
RESERVE = 0.05  # share of a card that driver and CUDA context take

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


def single(gpu: str) -> str:
    """One card of what Modal calls ``gpu``: ``A100-80GB`` of ``A100-80GB:4``."""
    return gpu.partition(":")[0]


def count(gpu: str) -> int:
    """How many cards: 4 of ``A100-80GB:4``, 1 of ``A100-80GB``; of a list as many as of each in it."""
    number = gpu.partition(",")[0].partition(":")[2]
    return int(number) if number.isdecimal() else 1


def plain(gpu: str) -> str:
    """A card's name without their number and what Modal may do about it: ``H100!`` (no upgrade), ``B200+`` (newer)."""
    name = single(gpu)
    return name[:-1] if name in ("H100!", "B200+") else name


def unusable(gpu: str) -> str:
    """Why no training can run on what Modal calls ``gpu``; empty where one can."""
    if plain(gpu) in BLACKWELL:
        return (
            f"{gpu} is a Blackwell card: Paddle's wheels for CUDA 12.6 have no code for it, and 12.9 has none here yet"
        )
    if plain(gpu) in CARDS and gpu == single(gpu):
        return ""
    if plain(gpu) in CARDS and "," not in gpu:
        most, (_, _, number) = FEWER.get(plain(gpu), MOST_CARDS), gpu.partition(":")
        fits = number.isdecimal() and number[0] != "0" and int(number) <= most
        return "" if fits else f"{gpu}: Modal gives 1 to {most} of these cards, such as {single(gpu)}:{most}"
    names = ", ".join(card for card in [*CARDS, "H100!"] if card not in BLACKWELL)
    if "," in gpu:
        return f"a list of cards stands in a deployed function, and {gpu} in none: use A100-80GB,H100 or one of {names}"
    return f"Modal has no GPU {gpu}: use one of {names}, or several as in A100-80GB:4"


@dataclass(frozen=True)
class Pass:
    """One forward pass: ``rows`` of ``tokens`` in all, the longest of ``longest``; ``image`` of them are images'."""

    rows: int
    tokens: int
    longest: int
    image: int

    @classmethod
    def of(cls, lengths: Mapping[int, int], rows: int, *, image_share: float, packed_to: int | None) -> Pass:
        """The heaviest pass of a dataset: its longest rows together.

        Args:
            lengths: tokens of a row → how many rows have so many.
            rows: rows of a pass (train.batch_size).
            image_share: which share of all tokens are images'.
            packed_to: ERNIEKit fills a pass with rows until this many tokens; None: whole rows, as many as ``rows``.
        """
        left, tokens = rows, 0
        for length in sorted(lengths, reverse=True):
            taken = min(left, lengths[length])
            tokens, left = tokens + taken * length, left - taken
            if not left:
                break
        longest = max(lengths, default=0)
        if packed_to is not None:
            tokens = min(tokens, packed_to)
        return cls(rows, tokens, longest, round(tokens * image_share))

    @classmethod
    def least(cls, rows: int) -> Pass:
        """The lightest pass that ``rows`` rows can make."""
        return cls(rows, rows * LEAST_ROW, LEAST_ROW, rows * LEAST_ROW)


@dataclass(frozen=True)
class Estimate:
    """``needed`` and ``usable`` are GB."""

    needed: float
    usable: float

    @property
    def fits(self) -> bool:
        """Is there room?"""
        return self.needed <= self.usable


def needed(load: Pass, *, lora: bool, flash: bool = True, cards: int = 1) -> float:
    """GB of a training by its heaviest pass, on each card. Example: eight rows of 1,770 tokens, full → 30."""
    fixed, rate = (LORA_FIXED, LORA_RATE) if lora else (FULL_FIXED, FULL_RATE)
    if cards > 1 and not lora:
        fixed += BUCKETS
    if flash:
        return fixed + rate * load.tokens
    text, vision = load.rows * load.longest**2, (PATCHES * load.image) ** 2  # one layer is held at a time
    return fixed + rate * load.rows * load.longest + HEADS * SCORE * max(text, vision) / GB  # rows are padded


def _known(gpu: str | Card) -> tuple[str, float, bool] | None:
    """(name, memory in GB, does it compute in bf16?) of a card, or None for one that is not known here."""
    if isinstance(gpu, Card):
        return f"this machine's {gpu.name}", gpu.memory, gpu.bf16
    return (gpu, *CARDS[plain(gpu)]) if plain(gpu) in CARDS else None


def check(gpu: str | Card, rows: int, *, lora: bool, bf16: bool, cards: int = 1) -> Estimate | None:
    """The least that a training needs on a card whatever its rows are, or None for a card that is not known here.

    Args:
        gpu: as Modal names it, or a card of this machine.
        rows: rows of a forward pass.
        cards: how many train together.
    Raises:
        ConfigError: it cannot fit, with the numbers and what would.
    """
    if (known := _known(gpu)) is None:
        return None
    (name, memory, has_bf16), where = known, "local.device" if isinstance(gpu, Card) else "modal.gpu"
    if bf16 and not has_bf16:
        remedy = "use train.precision=float16" if isinstance(gpu, Card) else "use A10G, L4, A100-80GB or H100"
        raise ConfigError("the card does not compute in bf16", where=where, value=name, remedy=remedy)
    estimate = Estimate(needed(Pass.least(rows), lora=lora, flash=bf16, cards=cards), memory * (1 - RESERVE))
    if not estimate.fits:
        fewer = _fewer(memory, rows, lora=lora, flash=bf16, cards=cards)
        each = " on each card" if cards > 1 else ""
        smaller = f"train.batch_size={fewer}" if fewer else "LoRA (train.lora.rank=8, not with engine erniekit)"
        raise ConfigError(
            f"the training cannot fit, however small its rows: at least {estimate.needed:.0f} GB are needed{each}, "
            f"{estimate.usable:.0f} GB usable",
            where=where,
            value=f"{name} with {memory:.0f} GB, train.batch_size {rows}",
            remedy=f"use {smaller}, or a larger card such as A100-80GB",
        )
    return estimate


def _fewer(memory: float, rows: int, *, lora: bool, flash: bool, cards: int) -> int:
    """The most rows of the smallest kind that fit, halved until they do; 0 where not even one does."""
    while rows and needed(Pass.least(rows), lora=lora, flash=flash, cards=cards) > memory * (1 - RESERVE):
        rows //= 2
    return rows


def warning(
    gpu: str | Card,
    rows: int,
    passes: Callable[[int], Pass],
    *,
    lora: bool,
    flash: bool,
    accumulation: int,
    cards: int = 1,
) -> str | None:
    """What to say where a pass of the dataset's longest rows is probably too much for the card; None where it fits.

    Args:
        passes: the heaviest pass of so many rows.
        accumulation: forward passes of a step (train.gradient_accumulation_steps).
        cards: how many train together; a pass is on one of them.
    """
    if (known := _known(gpu)) is None:
        return None
    name, usable, load = known[0], known[1] * (1 - RESERVE), passes(rows)
    estimate = Estimate(needed(load, lora=lora, flash=flash, cards=cards), usable)
    if estimate.fits:
        return None
    fewer = rows
    while fewer > 1 and needed(passes(fewer), lora=lora, flash=flash, cards=cards) > usable:
        fewer //= 2
    lighter = needed(passes(fewer), lora=lora, flash=flash, cards=cards)
    smaller = f"train.batch_size={fewer} with train.gradient_accumulation_steps={accumulation * rows // fewer}"
    eager = "" if flash else " (without flash attention: it has no kernel for float16)"
    return (
        f"memory: a batch of the {rows} longest rows ({load.tokens:,} tokens, the longest row {load.longest:,}) needs "
        f"about {estimate.needed:.0f} GB{eager}; {name} has {usable:.0f}. The training may run out of memory when they "
        f"meet. Next: {f'{smaller} is the same training in {lighter:.0f} GB; or ' if lighter <= usable else ''}"
        "a larger card, smaller images or shorter rows (sft validate names them)"
    )
