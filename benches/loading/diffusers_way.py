"""Loads a transformer as diffusers' users do: load_file, every tensor to bf16, load_state_dict.

    python diffusers_way.py FILE

Prints a line of JSON at the beginning of each stage and at the end: {"stage": …, "seconds": …}.
The state dict is converted in place, so that no tensor is held in both types.
"""

import json
import sys
import time

import torch
from accelerate import init_empty_weights
from diffusers import QwenImageTransformer2DModel
from safetensors.torch import load_file


def main():
    start = time.perf_counter()

    def stage(name: str, **more):
        print(json.dumps({"stage": name, "seconds": time.perf_counter() - start, **more}), flush=True)

    stage("load_file")
    state = load_file(sys.argv[1])
    stage("to bf16")
    for count, name in enumerate(list(state), 1):
        state[name] = state[name].to(torch.bfloat16)
        stage("to bf16", tensors=count, of=len(state))
    stage("load_state_dict")
    # Its defaults are the published model's sizes. On meta it takes no memory of its own.
    with init_empty_weights():
        model = QwenImageTransformer2DModel()
    model.load_state_dict(state, assign=True)
    stage("loaded", dtype=str(next(model.parameters()).dtype))


if __name__ == "__main__":
    main()
