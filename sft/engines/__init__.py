"""The registry of engines: name → engine."""

from __future__ import annotations

from sft.engines.base import Engine
from sft.engines.erniekit import ErnieKit
from sft.engines.paddleformers import PaddleFormers
from sft.engines.transformers import Transformers

ENGINES: dict[str, Engine] = {}
ENGINES[ErnieKit.name] = ErnieKit()
ENGINES[PaddleFormers.name] = PaddleFormers()
ENGINES[Transformers.name] = Transformers()
