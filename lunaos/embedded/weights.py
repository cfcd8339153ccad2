"""Conversion of all-MiniLM-L6-v2 from PyTorch's weights to llama.cpp's format."""

# A program of its own, so that numpy and the full weights leave memory after two seconds.

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np

ARCHITECTURE = gguf.MODEL_ARCH.BERT
QUANTISED = gguf.GGMLQuantizationType.Q8_0  # retrieval as good as with 32 bits, a quarter of the size
PHANTOM_SPACE = "\u2581"  # llama.cpp's vocabulary of word pieces marks the beginning of a word, BERT's its inside
SPECIAL = {"bos": "[CLS]", "eos": "[SEP]", "sep": "[SEP]", "unk": "[UNK]", "pad": "[PAD]", "mask": "[MASK]"}
UNUSED = ("embeddings.position_ids", "pooler.")  # mean pooling needs no pooler


def convert(source: Path, target: Path) -> None:
    """Convert a BERT model of sentence-transformers to GGUF."""
    config = json.loads((source / "config.json").read_text())
    new = target.with_suffix(".new")
    writer = gguf.GGUFWriter(new, gguf.MODEL_ARCH_NAMES[ARCHITECTURE])
    _describe(writer, config)
    _add_vocabulary(writer, (source / "vocab.txt").read_text(encoding="utf-8").splitlines())
    names = gguf.get_tensor_name_map(ARCHITECTURE, config["num_hidden_layers"])
    for name, tensor in gguf.utility.SafetensorsLocal(source / "model.safetensors").tensors.items():
        if not name.startswith(UNUSED):
            _add(writer, names.get_name(name, try_suffixes=(".weight", ".bias")), _values(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    new.rename(target)


def _describe(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def _add_vocabulary(writer: gguf.GGUFWriter, pieces: list[str]) -> None:
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(2)
    writer.add_token_list([_piece(piece) for piece in pieces])
    writer.add_token_types([gguf.TokenType.CONTROL if _is_special(p) else gguf.TokenType.NORMAL for p in pieces])
    for role, piece in SPECIAL.items():
        getattr(writer, f"add_{role}_token_id")(pieces.index(piece))


def _piece(piece: str) -> str:
    if _is_special(piece):
        return piece
    return piece[2:] if piece.startswith("##") else PHANTOM_SPACE + piece


def _is_special(piece: str) -> bool:
    return piece.startswith("[") and piece.endswith("]") and len(piece) > 2


def _values(tensor: gguf.utility.LocalTensor) -> np.ndarray:
    return np.frombuffer(bytes(tensor.mmap_bytes()), np.float32).reshape(tensor.shape)


def _add(writer: gguf.GGUFWriter, name: str | None, values: np.ndarray) -> None:
    if name is None:
        raise ValueError("the weights are not of a BERT model")
    # Biases, norms and positions are small and keep 32 bits.
    if values.ndim == 2 and not name.startswith(("position_embd", "token_types")):
        writer.add_tensor(name, gguf.quants.quantize(values, QUANTISED), raw_dtype=QUANTISED)
    else:
        writer.add_tensor(name, values)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
