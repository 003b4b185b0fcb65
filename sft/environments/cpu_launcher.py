"""PaddleFormers' launcher for one CPU process: ``python -m sft.environments.cpu_launcher train config.yaml``.

``paddleformers-cli`` starts paddle.distributed.launch, which one CPU process does not need, and PaddleOCR-VL's module
imports triton, whose wheel unpacks to 1 GB of GPU code. Only ``triton.jit`` is used at import, so a stub module
takes its place; the kernels themselves run on GPUs only. The stub also stands before a triton that is installed: with
that one PaddleFormers 1.2.0 calls its kernels on a CPU too, and ends with "0 active drivers".
"""

from __future__ import annotations

import importlib.machinery
import signal
import sys
from types import ModuleType
from typing import Any

from sft.environments.light import starting
from sft.environments.whole_patches import as_products


def _jit(function: Any = None, **_: Any) -> Any:
    return function if function is not None else _jit


def stub_triton() -> None:
    """Offer a module ``triton`` with ``jit`` and ``language``, unless one has been imported already. For CPUs only."""
    if "triton" in sys.modules:
        return
    triton, language = ModuleType("triton"), ModuleType("triton.language")
    for module in (triton, language):
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
    triton.__dict__.update(jit=_jit, language=language, __version__="3.1.0", __path__=[])
    language.__dict__.update(constexpr=Any)
    sys.modules.update({"triton": triton, "triton.language": language})


def save_at_sigterm() -> None:
    """At SIGTERM the step that runs is finished, saved as a checkpoint, and the training ends."""
    from paddleformers.trainer.trainer_callback import DefaultFlowCallback

    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    plain = DefaultFlowCallback.on_step_end

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> Any:
        control = plain(self, args, state, control, **rest)
        if asked:
            control.should_save = control.should_training_stop = True
        return control

    DefaultFlowCallback.on_step_end = on_step_end


def main() -> None:
    """Run PaddleFormers' launcher with this process's arguments."""
    stub_triton()
    with starting():
        import paddleformers.cli.train.sft.workflow  # noqa: F401  # what launch imports when it has its arguments
        from paddleformers.cli.launcher import launch

    as_products()
    save_at_sigterm()
    launch()


if __name__ == "__main__":
    main()
