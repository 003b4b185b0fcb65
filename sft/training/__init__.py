"""Running a trainer: its process, what it says, the memory it needs, the wheel."""
