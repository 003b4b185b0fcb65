"""Programs that make what the project ships; nothing imports them but tests."""
