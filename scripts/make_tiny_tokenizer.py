"""Write sft/smoke/tiny_tokenizer.model: the tiny base model's characters as a SentencePiece model.

PaddleOCR's document parser reads tokenizer.model, everything else tokenizer.json: both must give the same ids. Needs
the package sentencepiece (0.2.3 was used), which nothing else here does.
"""

from __future__ import annotations

import importlib

from sft.smoke import tiny


def main() -> None:
    """One piece for each entry of the vocabulary, in the order of the ids."""
    proto = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    kinds = proto.ModelProto.SentencePiece
    model, ids = proto.ModelProto(), tiny.vocabulary()
    for token, number in sorted(ids.items(), key=lambda item: item[1]):
        piece = model.pieces.add()
        piece.piece, piece.score = token.replace(" ", "\u2581"), -number / 100
        special = token in tiny.SPECIAL_TOKENS
        piece.type = kinds.USER_DEFINED if special else kinds.NORMAL
        if token in ("<s>", "</s>"):
            piece.type = kinds.CONTROL
        if token == "<unk>":
            piece.type = kinds.UNKNOWN
    spec = model.trainer_spec
    spec.model_type = proto.TrainerSpec.BPE
    spec.unk_id, spec.bos_id, spec.eos_id, spec.pad_id = ids["<unk>"], ids["<s>"], ids["</s>"], -1
    spec.vocab_size = len(ids)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = model.normalizer_spec.remove_extra_whitespaces = False
    tiny.TOKENIZER.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
