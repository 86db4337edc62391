"""Trains the tiny tokenizer: byte-level BPE in the file format of Qwen2, on the text below."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from transformers import Qwen2Tokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

MERGES = 320

# The added tokens of the real tokenizer, in the order of their ids; True = special.
ADDED_TOKENS = [
    ("<|endoftext|>", True),
    ("<|im_start|>", True),
    ("<|im_end|>", True),
    ("<|object_ref_start|>", True),
    ("<|object_ref_end|>", True),
    ("<|box_start|>", True),
    ("<|box_end|>", True),
    ("<|quad_start|>", True),
    ("<|quad_end|>", True),
    ("<|vision_start|>", True),
    ("<|vision_end|>", True),
    ("<|vision_pad|>", True),
    ("<|image_pad|>", True),
    ("<|video_pad|>", True),
    ("<tool_call>", False),
    ("</tool_call>", False),
    ("<|fim_prefix|>", False),
    ("<|fim_middle|>", False),
    ("<|fim_suffix|>", False),
    ("<|fim_pad|>", False),
    ("<|repo_name|>", False),
    ("<|file_sep|>", False),
]

CORPUS = """\
system user assistant
Describe the image by detailing the color, shape, size, texture, quantity, text,
spatial relationships of the objects and background:
A red fox jumps over the lazy dog near a quiet river. The fox's coat is bright, and the
dog's fur is brown; they're both looking at the camera. It's a sunny day, we've never seen
such a blue sky, and I'll paint it again: the mountain, the lake, the old wooden house.
A photo of a cat sitting on the table, with a cup of coffee and 12 books (1984, 2001).
The sign says "OPEN 24/7" in large neon letters. Ultra HD, 4K, cinematic composition.
## Title ##
    for image in images:
        print(image)


一只红色的狐狸跳过懒狗。图片的背景是蓝色的天空，远处有山和湖。
桌子上有一只猫，旁边写着“你好，世界”。一张美丽的照片，超清，电影级构图。
红色的狐狸，蓝色的天空，白色的猫。你好，世界！
😀 😀 🎨🎨 🦊🦊 👩‍🎨 ❤️
Le café est fermé, l'été à la plage; Ärger über Öl. Привет, мир! Красная лиса. こんにちは世界
"""


def train(text: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Plain BPE: merge the commonest pair, the alphabetically first one among equals."""
    alphabet = list(bytes_to_unicode().values())
    vocab = {symbol: index for index, symbol in enumerate(alphabet)}
    splitter = Qwen2Tokenizer(vocab=dict(vocab), merges=[]).backend_tokenizer
    pieces = splitter.pre_tokenizer.pre_tokenize_str(splitter.normalizer.normalize_str(text))
    words = Counter(tuple(piece) for piece, _ in pieces)
    merges = []
    while len(merges) < MERGES:
        pairs = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        vocab.setdefault("".join(best), len(vocab))
        merged = Counter()
        for word, count in words.items():
            merged[merge(word, best)] += count
        words = merged
    return vocab, merges


def merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def write(folder: Path) -> None:
    vocab, merges = train(CORPUS)
    added = {
        str(len(vocab) + i): {
            "content": content,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": special,
        }
        for i, (content, special) in enumerate(ADDED_TOKENS)
    }
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": [content for content, special in ADDED_TOKENS[1:] if special],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#version: 0.2"] + [" ".join(pair) for pair in merges]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "vocab.json").write_text(
        json.dumps(vocab, ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> Qwen2Tokenizer:
    """Loads a tokenizer and makes sure that its added tokens got the ids that the file states."""
    tokenizer = Qwen2Tokenizer.from_pretrained(str(folder))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    for index, token in config["added_tokens_decoder"].items():
        assert tokenizer.convert_tokens_to_ids(token["content"]) == int(index), token
    return tokenizer
