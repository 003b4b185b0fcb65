"""``python -m benchmarks [NAME …] [--quick] [--json FILE]``: run the benchmarks and print the table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Figure

# Name → module; those of --quick need less than three minutes together on 2 cores.
QUICK = ("metrics", "command_line", "sync", "transfer", "history", "validation")
SLOW = (
    *("scale", "training", "packing", "rerun", "port", "polling", "shards", "commits", "reading", "sweep", "labels"),
    *("placed", "patches"),
)


def main() -> None:
    """One line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join((*QUICK, *SLOW))}; none: all")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, and only what is quick")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    args = parser.parse_args()
    if args.quick:
        os.environ["SFT_BENCH_QUICK"] = "1"
    names = args.names or (QUICK if args.quick else (*QUICK, *SLOW))
    console = Console(width=160)
    table = Table("benchmark", "question", "measured", "reference", "unit (reference)", "ratio", "goal", "met")
    told: list[dict[str, object]] = []
    for name in names:
        figures: list[Figure] = list(importlib.import_module(f"benchmarks.{name}").figures())
        for f in figures:
            met = "yes" if f.met else "NO"
            ratio = f"{f.ratio:.2f}" + (f" ({f.spread[0]:.2f} to {f.spread[1]:.2f})" if f.spread else "")
            table.add_row(name, f.question, f"{f.value:,.2f}", f"{f.reference:,.2f}", f.unit, ratio, f.goal, met)
            told.append({"benchmark": name, **f.as_dict()})
    console.print(table)
    if args.json:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "time": time.time()}
        args.json.write_text(json.dumps({"machine": machine, "figures": told}, indent=2) + "\n")


if __name__ == "__main__":
    main()
