"""Where things lie; importing it also makes the reference helpers of the test suite importable."""

import sys
from pathlib import Path

TRAIN = Path(__file__).resolve().parent
DEMO = TRAIN.parent
MODELS = DEMO.parent / "engine/demo"
TOKENIZER = MODELS / "tokenizer"
HELD_OUT = DEMO / "held_out.json"

sys.path.insert(0, str(DEMO.parent / "tests/reference"))
