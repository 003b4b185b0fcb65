"""Seconds and memory of what runs on a GPU, and what its card could do. Needs torch where there is one."""

from __future__ import annotations

import time

# Dense bfloat16 peaks, FLOP/s, from NVIDIA's data sheets.
PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "L4": 121e12, "A10": 125e12, "L40S": 362e12}


class Meter:
    """Seconds since ``begin``, and the most memory that was held (GB), of the block."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds, self.peak, self.reserved = device, 0.0, 0.0, 0.0

    def __enter__(self) -> Meter:
        if self.device != "cpu":
            import torch

            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        self.begin()
        return self

    def begin(self) -> None:
        """Count from now."""
        self._wait()
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._wait()
        self.seconds = time.perf_counter() - self._began
        if self.device != "cpu":
            import torch

            self.peak = torch.cuda.max_memory_allocated() / 1e9
            self.reserved = torch.cuda.max_memory_reserved() / 1e9

    def _wait(self) -> None:
        if self.device != "cpu":
            import torch

            torch.cuda.synchronize()


def peak(device: str) -> float:
    """The card's FLOP/s, 0 where it is not known."""
    if device == "cpu":
        return 0.0
    import torch

    name = torch.cuda.get_device_name()
    return next((value for card, value in sorted(PEAKS.items(), reverse=True) if card in name), 0.0)
