"""Examples of each command, for its help and for docs/commands.md; a test types those that need no account.

They follow one another: ``receipts`` is a folder of scans with a text beside each.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "import": ("sft import receipts all.jsonl",),
    "split": (
        "sft split all.jsonl",
        "sft split all.jsonl --held-out 0.2 --seed 7 --force",
        "sft split volume://pages/all.jsonl --profile full",
    ),
    "validate": (
        "sft validate all.train.jsonl --held-out all.held_out.jsonl --report dataset.html",
        "sft validate all.jsonl --rule near-empty=error --images headers",
    ),
    "convert": ("sft convert all.jsonl all.messages.jsonl --to messages",),
    "fetch-images": ("sft fetch-images all.jsonl fetched.jsonl",),
    "run": (
        "sft run smoke",
        "sft run full --set dataset.train=all.train.jsonl --set dataset.held_out=all.held_out.jsonl --detach",
        "sft run full --hosted",
    ),
    "evaluate": (
        "sft evaluate base held-out --profile smoke",
        "sft evaluate 0.9B 1.6 all.held_out.jsonl --profile full",
    ),
    "sweep": ("sft sweep full --grid train.learning_rate=2e-6,5e-6,1e-5 --set dataset.dev_share=0.05",),
    "doubtful": ("sft doubtful smoke", "sft doubtful full train --model 0123456789abcdef --odds 20"),
    "relabel": ("sft relabel all.train.jsonl export.json all.corrected.jsonl",),
    "curve": ("sft curve full --set dataset.dev_share=0.05",),
    "plan": (
        "sft plan smoke",
        "sft plan full --set dataset.train=all.train.jsonl --set dataset.held_out=all.held_out.jsonl",
    ),
    "status": ("sft status smoke",),
    "history": ("sft history smoke --last 5", "sft history full --json"),
    "cost": ("sft cost --profile smoke", "sft cost 2026-10 --profile full"),
    "cancel": ("sft cancel", "sft cancel 0123456789abcdef --profile full"),
    "doctor": ("sft doctor smoke", "sft doctor full --quick", "sft doctor full --check volumes --check night"),
    "deploy": (
        "sft deploy",
        "sft deploy --night",
        "sft deploy nightly --night --set dataset.volume=samples/bengali --cron '0 3 * * *' --timezone Europe/Paris",
    ),
    "sample": ("sft sample",),
    "upload": (
        "sft upload all.train.jsonl all.held_out.jsonl",
        "sft upload all.train.jsonl all.held_out.jsonl --as receipts",
    ),
    "upload-wheel": ("sft upload-wheel paddlepaddle_gpu-3.2.1-cp312-cp312-linux_x86_64.whl",),
    "infer": ("sft infer receipts/1.png --model base", "sft infer new.pdf --profile full --set name=receipts"),
    "promote": (
        "sft promote smoke 0123456789abcdef --because 'reads the stamps'",
        "sft promote smoke 0123456789abcdef --refuse --because 'misses the stamps'",
    ),
    "rollback": ("sft rollback smoke",),
    "publish": ("sft publish full me/receipts-ocr --licence mit",),
    "cleanup": ("sft cleanup smoke --older-than 30", "sft cleanup full --models --yes"),
    "track": (
        "sft track smoke --set track.mlflow=http://127.0.0.1:5000",
        "sft track smoke 0123456789abcdef --set track.wandb=me/receipts",
    ),
    "tensorboard": ("sft tensorboard smoke --port 6007",),
}
