"""``python -m benchmarks``: run every benchmark and print the table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from benchmarks import command_line, metrics, port, validation


def main() -> None:
    """One line for each figure."""
    table = Table("question", "measured", "reference", "unit (reference)", "ratio", "goal", "met")
    for module in (validation, metrics, command_line, port):
        for f in module.figures():
            met = "yes" if f.met else "NO"
            table.add_row(f.question, f"{f.value:,.2f}", f"{f.reference:,.2f}", f.unit, f"{f.ratio:.2f}", f.goal, met)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
