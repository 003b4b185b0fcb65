"""What a run leaves behind and asks for, without Prefect: calls, ledger, usage, budget."""
