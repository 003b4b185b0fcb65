"""What an hour costs: by Modal's own rates where it gives them, by ``budget.prices`` otherwise. Needs no Prefect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from compute.base import Compute
from modal_infra.names import HOST, HOST_CPU, HOST_MEMORY_MB, HOURLY
from sft.config import RunConfig
from sft.errors import SftError
from sft.training.memory import count, plain

MODALS_CURRENCY = "USD"
KEYS = {"A10": "A10G", "A100": "A100-40GB"}  # a card's name → the one that Modal prices it under
MIB = 1024  # in a GiB
DEFAULT_CPU, DEFAULT_MEMORY = 0.125, 128  # cores and MiB that Modal gives where nothing is asked for


@dataclass(frozen=True)
class Prices:
    """Prices of an hour of a job.

    Attributes:
        rates: Modal's (see :func:`compute.billing.rates`); empty: those of ``budget.prices`` count.
        day: when the rates were asked for (YYYY-MM-DD).
    """

    config: RunConfig
    rates: Mapping[str, float] = field(default_factory=dict)
    day: str = ""

    def hourly(self, gpu: str) -> float | None:
        """The price of an hour on ``gpu``, with the CPU cores and the memory that a container reserves where Modal's
        rates are known; of several kinds of cards the dearest one's; None where one is unknown. ``A100-80GB:4`` are
        four cards in one container.
        """
        if not self.rates:
            typed = self.config.budget.hourly(gpu)
            return self._host() if typed is None and gpu == HOST else typed
        if gpu == HOST:
            return self._host()
        prices = [self._rate(card) for card in gpu.split(",")]
        return None if None in prices else max(price for price in prices if price is not None)

    def _rate(self, card: str) -> float | None:
        container = self._container()
        if card == "cpu":
            return container
        name = KEYS.get(plain(card), plain(card))
        rate = self.rates.get(f"gpu_hour_cost_{name.lower().replace('-', '_')}")
        if rate is None or container is None:  # a card that Modal prices under another name: it was typed, perhaps
            return self.config.budget.hourly(card)
        return rate * count(card) + container

    def _host(self) -> float | None:
        """Of the container that hosts a flow: it is small, whatever the profile asks for."""
        cpu, memory = self.rates.get("cpu_hour_cost"), self.rates.get("mem_gib_hour_cost")
        if cpu is not None and memory is not None:
            return cpu * HOST_CPU + memory * HOST_MEMORY_MB / MIB
        return HOURLY if self.config.budget.currency == MODALS_CURRENCY else None

    def _container(self) -> float | None:
        cpu, memory = self.rates.get("cpu_hour_cost"), self.rates.get("mem_gib_hour_cost")
        if cpu is None or memory is None:
            return None
        asked = self.config.modal
        return cpu * (asked.cpu or DEFAULT_CPU) + memory * (asked.memory_mb or DEFAULT_MEMORY) / MIB

    def cost(self, gpu: str, seconds: float) -> float | None:
        """What so many seconds on ``gpu`` cost; None where no price is known."""
        hourly = self.hourly(gpu)
        return None if hourly is None else hourly * seconds / 3600

    @property
    def source(self) -> str:
        """Where the prices are from, with their date."""
        if self.rates:
            return f"Modal's rates of {self.day}"
        dated = self.config.budget.prices_as_of
        return (f"prices of {dated}" if dated else "budget.prices") if self.config.budget.prices else ""


def prices_for(config: RunConfig, compute: Compute) -> Prices:
    """The prices that count now. Modal's are in USD: where ``budget.currency`` is another one, those typed count."""
    if config.compute != "modal" or config.budget.currency != MODALS_CURRENCY:
        return Prices(config)
    try:
        rates = compute.rates()
    except SftError:  # what does not answer fails no run; the source tells which prices counted
        rates = {}
    return Prices(config, rates, time.strftime("%Y-%m-%d"))
