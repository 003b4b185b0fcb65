"""The program that trains with torch: run by the Python of another environment, and it imports nothing but itself.

``python -m sft.torch_trainer CONFIG``, a YAML file that :mod:`sft.engines.transformers` writes. torch, transformers and
peft are imported where they are used, so that every module can be looked at without them.
"""
