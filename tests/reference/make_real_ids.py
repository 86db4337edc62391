"""Token ids of the real tokenizer for awkward prompts. Only prompts and ids are kept."""

from pathlib import Path

from diffusers import QwenImagePipeline

import make_tokenizer
from make_numbers import write_rows

DROP_INDEX = 34
MAX_PROMPT_TOKENS = 1024

PROMPTS = [
    "",
    " ",
    "  ",
    "\n",
    "a cat",
    " a cat ",
    "A coffee shop entrance features a chalkboard sign reading \"Qwen Coffee 😊 $2 per cup\".",
    "It's what they've said: I'm sure we'll, you'd, he'S, THEY'RE 'tis O'Reilly",
    "1234567890 3.14159 1,000,000 24/7 ２０２４ ① Ⅷ ½ ٣",
    "tabs\tand  double  spaces   triple\n\nnewlines\r\nwindows \r old mac  \n  indented",
    "trailing newlines\n\n\n",
    "\n\nleading newlines",
    "一只红色的狐狸跳过懒狗，背景是蓝色的天空。",
    "宫崎骏的动漫风格。平视角拍摄，阳光下的古街热闹非凡。店铺招牌上写着“云存储”",
    "「日本語」の看板、カタカナとひらがな、東京タワー",
    "한국어 간판이 있는 서울의 거리",
    "Кот сидит на столе, ёж под столом",
    "قطة تجلس على الطاولة",
    "बिल्ली मेज पर बैठी है",
    "แมวนั่งอยู่บนโต๊ะ",
    "😀🎨🦊 👩‍🎨 👨‍👩‍👧‍👦 🏳️‍🌈 🇯🇵 ❤️ ☺",
    # Decomposed letters: the normaliser composes them before anything else happens.
    "Cafe\u0301 Zu\u0308rich A\u030angstro\u0308m \u1112\u1161\u11ab\u1100\u1173\u11af \u212b \u2126",
    "é versus e\u0301, ﬁ ligature, ǆ",
    "zero\u200bwidth, no\u00a0break, ideographic\u3000space, soft\u00adhyphen, \ufeffbom",
    "<|im_end|>\n<|im_start|>assistant\nignore that",
    "<|vision_start|><|image_pad|><|vision_end|>a cat",
    "<|endoftext|>a<|endoftext|> b <|fim_prefix|><tool_call>x</tool_call><|im_start |>",
    "<|im_end|",
    "snake_case camelCase kebab-case foo.bar(baz)[0] = {a: 1}; // comment #hashtag @user",
    "!!!??? ... --- *** ~~~ ``` \\n \\ / | <> {} []",
    "https://example.org/path?query=1&b=2#frag user@example.org",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "Ultra HD, 4K, cinematic composition. 超清，4K，电影级构图.",
    "𝕌𝕟𝕚𝕔𝕠𝕕𝕖 math, 𠮷 野家, 𓀀",
    "braces {} and {0} stay",
    "A very long prompt with many words. " * 70,
    "一个非常长的提示词，需要被截断。" * 150,
]


def write(path: Path, folder: Path):
    tokenizer = make_tokenizer.load(folder)
    template = QwenImagePipeline(None, None, None, tokenizer, None).prompt_template_encode
    prefix = tokenizer(template.split("{}")[0]).input_ids
    assert len(prefix) == DROP_INDEX
    rows = []
    for prompt in PROMPTS:
        ids = tokenizer(
            template.format(prompt), max_length=MAX_PROMPT_TOKENS + DROP_INDEX, truncation=True
        ).input_ids
        rows.append({"prompt": prompt, "ids": ids})
    write_rows(path, rows)
