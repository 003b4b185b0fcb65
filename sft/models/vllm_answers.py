"""The backend ``vllm``: offline batch reading, for the environment that Modal's function ``predict_vllm`` has.

**Never seen to run on a GPU, nor at Modal.** A build for CPUs (vLLM 0.32.0) read the tiny model by this program, and
gave transformers' answers to rows of one image. Written from vLLM's recipe for PaddleOCR-VL (vllm-project/recipes,
PaddlePaddle/PaddleOCR-VL.md: ``--max-num-batched-tokens 16384 --no-enable-prefix-caching --mm-processor-cache-gb 0``),
the docstrings of vLLM 0.33.0 (``LLM.generate``, ``SamplingParams``, ``TokensPrompt``, ``CompletionOutput``) and its
model (vllm/model_executor/models/paddleocr_vl.py). The recipe's ``--trust-remote-code`` is left out: transformers 5
has a processor of its own, and a model folder's code is not run.

vLLM places each image of a row over rows and columns, where PaddleFormers 1.2.0 does so with the first alone; and its
processor may scale with torchvision, where all other readers use Pillow. So answers may differ: an evaluation counts
on a few rows how many do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sft.dataset.pictures import open_as_seen
from sft.models.questions import Answer, Question, answered, ends_of, shown, unsaid, written
from sft.models.reader_program import Asked, Batch, Loaded, serve

AT_ONCE = 512  # rows that are handed over together: what a kill loses. vLLM itself chooses what it computes together
RECIPE: dict[str, Any] = {
    "max_num_batched_tokens": 16384,
    "enable_prefix_caching": False,  # no two rows have an image in common
    "mm_processor_cache_gb": 0,
}
# A build of vLLM for CPUs takes that share of the main memory (the name is vLLM's), and bfloat16 if nobody says.
ON_CPU: dict[str, Any] = {"dtype": "float32", "gpu_memory_utilization": 0.3}


class Model:
    """A loaded model.

    Args:
        folder: a model folder, as the Hub or a training has it.
        device: "cpu" or "gpu".
    """

    def __init__(self, folder: Path, device: str) -> None:
        import transformers
        import vllm

        self._llm = vllm.LLM(model=str(folder), seed=0, **RECIPE, **(ON_CPU if device == "cpu" else {}))
        self._processor: Any = transformers.AutoProcessor.from_pretrained(folder)
        tokenizer = self._processor.tokenizer
        self._ends, self._silent = ends_of(tokenizer, folder), unsaid(tokenizer)
        versions = {"vllm": vllm.__version__, "transformers": transformers.__version__}
        self.loaded = Loaded(versions, device, self.read)

    def read(self, asked: Asked) -> Iterator[Batch]:
        """The rows in their order, :data:`AT_ONCE` by AT_ONCE."""
        from vllm import SamplingParams

        # Greedy; the tokens are made text here, as for the other readers: places are special tokens, and are said.
        how = SamplingParams(
            temperature=0.0, max_tokens=asked.max_new_tokens, stop_token_ids=self._ends, detokenize=False
        )
        for start in range(0, len(asked.rows), AT_ONCE):
            rows = asked.rows[start : start + AT_ONCE]
            made = self._llm.generate([self._prompt(turns) for turns in rows], how, use_tqdm=False)
            yield [(start + at, self._answer(one.outputs[0])) for at, one in enumerate(made)]

    def _prompt(self, turns: Question) -> dict[str, Any]:
        """The same tokens as for the other readers; vLLM puts as many marks for an image as it becomes tokens."""
        ids = self._processor.tokenizer(written(self._processor, turns))["input_ids"]
        images = [open_as_seen(path) for path in shown(turns)]
        return {"prompt_token_ids": ids, **({"multi_modal_data": {"image": images}} if images else {})}

    def _answer(self, said: Any) -> Answer:
        found = answered(self._processor.tokenizer, list(said.token_ids), self._ends, self._silent)
        return found._replace(cut=said.finish_reason == "length")


if __name__ == "__main__":
    serve(lambda folder, device: Model(folder, device).loaded)
