"""The domain of the fine-tuning pipeline, in plain Python: neither prefect nor modal nor paddle is imported here."""
