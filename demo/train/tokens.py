"""The demo's tokenizer (Qwen2 format, trained on the caption grammar) and the prompt template.

`python tokens.py` writes the tokenizer's folder.
"""

import paths  # noqa: F401 (makes make_tokenizer importable)
import make_tokenizer
import numpy as np
import scenes

MERGES = 600
PREFIX = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, "
    "spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"
# Tokens behind the prefix that training sees at most: prompt and suffix.
TEXT = 32

# What people may also say; the model has not learnt to draw it, but reads it in few tokens.
ENGLISH = """
the of and to in is it on for with as at by this that from or an be are was not have has had but
they you we he she his her its their there here what which who when where how all some any no one
two three four five six seven eight nine ten very more most over under between behind front near
photo picture image painting drawing sketch style bright beautiful simple minimal flat modern old
new young happy woman man child boy girl person people dog cat horse bird animal city street
building window door table chair book cup glass food apple orange banana water river ocean beach
forest garden grass leaf wood stone metal gold silver light shadow dark night day morning evening
summer winter spring autumn rain snow wind fire space planet rocket robot train plane bicycle
high quality detailed realistic cartoon 3D 4K
"""


def corpus() -> str:
    captions = []
    for seed, (width, height) in enumerate([(256, 256), (320, 192), (192, 320)]):
        captions += [name for names in scenes.batch(1000 + seed, 1500, width, height)[1] for name in names]
    return "\n".join(captions) + (PREFIX + SUFFIX).replace("<|im_start|>", "").replace("<|im_end|>", "") * 20 + ENGLISH * 6


def write(folder):
    make_tokenizer.CORPUS, make_tokenizer.MERGES = corpus(), MERGES
    make_tokenizer.write(folder)


def load(folder):
    return make_tokenizer.load(folder)


class Encoder:
    """Token ids of prompts, without the template's prefix, padded to TEXT."""

    def __init__(self, folder):
        self.tokenizer = load(folder)
        self.prefix = self.tokenizer(PREFIX).input_ids
        self.suffix = self.tokenizer(SUFFIX).input_ids
        self.pad = self.tokenizer.convert_tokens_to_ids("<|endoftext|>")

    def __call__(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        ids = np.full((len(texts), TEXT), self.pad, dtype=np.int16)
        lengths = np.zeros(len(texts), dtype=np.int16)
        for i, row in enumerate(self.tokenizer(texts).input_ids if texts else []):
            row = (row + self.suffix)[:TEXT]
            ids[i, : len(row)], lengths[i] = row, len(row)
        return ids, lengths


if __name__ == "__main__":
    write(paths.TOKENIZER)
    encoder = Encoder(paths.TOKENIZER)
    print(len(encoder.tokenizer), "tokens, prefix", len(encoder.prefix), "suffix", len(encoder.suffix))
    names = [name for names in scenes.batch(7, 2000, 256, 256)[1] for name in names]
    lengths = encoder(names)[1]
    print("caption tokens: mean", lengths.mean(), "99 %", np.percentile(lengths, 99), "longest", lengths.max())
