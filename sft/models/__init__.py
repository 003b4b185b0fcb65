"""A saved model: weights, export, LoRA, the Hub, reading with it."""
