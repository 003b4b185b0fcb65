"""One Prefect task a file: it validates its input, has one effect and returns a type."""
