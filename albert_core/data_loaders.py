"""Pretraining batches through the input libraries of the three frameworks, for loops of one's own.

Each gives the batches of one epoch in their order, from any index on; a library is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from albert_core.pretraining_data import PretrainingData

__all__ = ["EpochBatches", "grain_dataset", "tf_dataset", "torch_loader"]


class EpochBatches:
    """The batches of an epoch as a sequence: a map-style dataset of torch, a random access source of grain.

    It can be pickled, and then leaves a corpus that is on disk there: workers map the same files.

    Args:
        data: The batches.
        epoch: From 0.
        start: Index of the first batch.
    """

    def __init__(self, data: PretrainingData, epoch: int = 0, start: int = 0) -> None:
        self.data, self.epoch, self.start = data, epoch, start
        if not 0 <= start <= (count := data.batches(epoch)):
            raise IndexError(f"start: expected 0 to {count} in epoch {epoch}, got {start}")

    def __len__(self) -> int:
        return self.data.batches(self.epoch) - self.start

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"index: expected 0 to {len(self) - 1}, got {index}")
        return self.data.batch(self.epoch, self.start + int(index))

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"EpochBatches(epoch={self.epoch}, start={self.start}, recipe={self.data.recipe})"


def torch_loader(data: PretrainingData, epoch: int = 0, start: int = 0, **options: Any) -> Any:
    """A torch DataLoader of dicts of tensors.

    Args:
        data: The batches.
        epoch: From 0.
        start: Index of the first batch.
        **options: Of DataLoader: num_workers, multiprocessing_context, pin_memory and so on.
    """
    loader = importlib.import_module("torch.utils.data").DataLoader
    return loader(EpochBatches(data, epoch, start), batch_size=None, **options)


def tf_dataset(data: PretrainingData, epoch: int = 0, start: int = 0) -> Any:
    """A tf.data.Dataset of dicts of tensors; lengths are open where `length_buckets` makes them differ."""
    tf = importlib.import_module("tensorflow")
    batches = EpochBatches(data, epoch, start)
    bucketed = data.recipe.length_buckets > 1

    def spec(array: np.ndarray) -> Any:
        return tf.TensorSpec([len(array), *(None if bucketed else size for size in array.shape[1:])], array.dtype)

    signature = {name: spec(array) for name, array in data.batch(epoch, 0).items()}
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature).apply(
        tf.data.experimental.assert_cardinality(len(batches))
    )


def grain_dataset(data: PretrainingData, epoch: int = 0, start: int = 0) -> Any:
    """A grain MapDataset of dicts of arrays; `to_iter_dataset` and `mp_prefetch` read ahead in other processes."""
    return importlib.import_module("grain").MapDataset.source(EpochBatches(data, epoch, start))
