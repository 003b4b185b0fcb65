"""``python -m tests.chaos --rounds 200 --seed 1 --log chaos.jsonl``: many rounds; exit code 1 if one fails."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prefect.settings import get_current_settings
from prefect.testing.utilities import prefect_test_harness

from tests.chaos.rounds import Outcome, play, summary


def main() -> None:
    """Play the rounds and print what came of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, default=Path("chaos.jsonl"))
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument(
        "--modal-every", type=int, default=5, help="every which round runs against the stand-in for Modal"
    )
    options = parser.parse_args()
    # A shell lets what it starts in the background ignore Ctrl-C, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    with prefect_test_harness(server_startup_timeout=120), options.log.open("a") as log:
        api, folder = str(get_current_settings().api.url), Path(tempfile.mkdtemp(prefix="sft-chaos-"))

        def one(seed: int) -> Outcome:
            place = "modal" if options.modal_every and seed % options.modal_every == 0 else "local"
            outcome = play(seed, folder, api, place)
            log.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
            log.flush()
            told = f"{outcome.faults} {outcome.weather} {outcome.problems or 'ok'}"
            print(f"seed {seed} {place} {outcome.seconds:.0f} s {told}", flush=True)
            return outcome

        with ThreadPoolExecutor(options.at_once) as pool:
            outcomes = list(pool.map(one, range(options.seed, options.seed + options.rounds)))
    print(summary(outcomes))
    sys.exit(any(outcome.problems for outcome in outcomes))


if __name__ == "__main__":
    main()
