"""Worker processes that sample scenes and tokenise captions ahead of the training loop."""

import multiprocessing
import os
from collections import defaultdict, deque

import numpy as np
import raster
import scenes
import tokens
import torch

# (width, height): share of the training batches
BUCKETS = {(256, 256): 0.64, (320, 192): 0.12, (192, 320): 0.12, (128, 128): 0.12}
SMOKE_BUCKETS = {(64, 64): 0.7, (80, 48): 0.3}
CHUNK = 512
ENCODER = None


def job(seed: int, count: int, size: tuple[int, int]):
    prims, texts = scenes.batch(seed, count, *size)
    ids, lengths = ENCODER([name for names in texts for name in names])
    shape = (count, scenes.VARIANTS)
    return prims, ids.reshape(*shape, -1), lengths.reshape(shape)


class Source:
    """Endless chunks of scenes, in an order that the seed alone decides for each size."""

    def __init__(self, tokenizer, seed: int, workers: int, chunk: int = CHUNK, ahead: int = 24):
        global ENCODER
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        ENCODER = tokens.Encoder(tokenizer)
        self.encoder, self.seed, self.chunk, self.ahead = ENCODER, seed, chunk, ahead
        self.pool = multiprocessing.get_context("fork").Pool(workers) if workers else None
        self.queues, self.counts = defaultdict(deque), defaultdict(int)

    def ask(self, size):
        self.counts[size] += 1
        seed = hash((self.seed, size, self.counts[size]))  # of integers: the same in every process
        return self.pool.apply_async(job, (seed, self.chunk, size))

    def next(self, size: tuple[int, int]):
        if self.pool is None:
            self.counts[size] += 1
            return job(hash((self.seed, size, self.counts[size])), self.chunk, size)
        queue = self.queues[size]
        while len(queue) < self.ahead:
            queue.append(self.ask(size))
        try:
            return queue.popleft().get(timeout=120)
        except Exception as error:  # a lost worker must not end the training
            print(f"a worker failed ({error!r}); sampling here", flush=True)
            return job(hash((self.seed, size, -self.counts[size])), self.chunk, size)

    def images(self, size: tuple[int, int], device) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        prims, ids, lengths = self.next(size)
        return raster.render(prims, *size, device), ids, lengths

    def close(self):
        if self.pool is not None:
            self.pool.terminate()
