"""The batches through torch's, TensorFlow's and grain's loaders: the same, in the same order, from any place."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.data_loaders import EpochBatches, grain_dataset, tf_dataset, torch_loader
from albert_core.joined_array import MappedArray
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe

RECIPE = PretrainingRecipe(batch_size=4, sequence_length=24, seed=7)


def data_of(folder: Path, **changes: Any) -> PretrainingData:
    """Batches of a text that stays on disk, in two shards."""
    lengths = np.random.default_rng(0).integers(1, 12, 300)
    parts = []
    for shard in range(2):
        segments = np.concatenate([[0], np.cumsum(lengths)])
        tokens = np.random.default_rng(shard).integers(5, 60, segments[-1])
        arrays = {"tokens": tokens.astype(np.uint16), "segments": segments, "documents": np.arange(0, 301, 15)}
        for name, array in arrays.items():
            np.save(folder / f"{name}{shard}.npy", array)
        mapped = (MappedArray(folder / f"{name}{shard}.npy", len(a), a.dtype) for name, a in arrays.items())
        parts.append(TokenizedCorpus(*mapped))
    vocabulary = Vocabulary(0, 2, 3, 4, np.arange(60) % 3 > 0, np.arange(5, 60))
    return PretrainingData(TokenizedCorpus.join(parts), vocabulary, RECIPE.replace(**changes))


def torch_batches(data: PretrainingData, *place: int) -> Iterable[dict[str, Any]]:
    return ({name: tensor.numpy() for name, tensor in batch.items()} for batch in torch_loader(data, *place))


def torch_worker_batches(data: PretrainingData, *place: int) -> Iterable[dict[str, Any]]:
    loader = torch_loader(data, *place, num_workers=2, multiprocessing_context="spawn")
    return ({name: tensor.numpy() for name, tensor in batch.items()} for batch in loader)


def tf_batches(data: PretrainingData, *place: int) -> Iterable[dict[str, Any]]:
    dataset = tf_dataset(data, *place)
    assert len(dataset) == len(EpochBatches(data, *place))
    return dataset.as_numpy_iterator()


def grain_batches(data: PretrainingData, *place: int) -> Iterable[dict[str, Any]]:
    return iter(grain_dataset(data, *place).to_iter_dataset())


LOADERS = [torch_batches, tf_batches, grain_batches]
KINDS = [{}, {"length_buckets": 3}, {"packing": 4}]


def assert_the_epoch(found: Iterable[dict[str, Any]], data: PretrainingData, epoch: int, start: int) -> None:
    count = 0
    for index, batch in enumerate(found, start):
        plain = data.batch(epoch, index)
        assert batch.keys() == plain.keys()
        for name, array in plain.items():
            assert batch[name].dtype == array.dtype, name
            np.testing.assert_array_equal(batch[name], array, name)
        count += 1
    assert count == data.batches(epoch) - start > 2


@pytest.mark.parametrize("changes", KINDS, ids=["plain", "buckets", "packed"])
@pytest.mark.parametrize("loader", LOADERS)
def test_every_loader_gives_the_batches_of_an_epoch_from_any_index(
    loader: Callable[..., Any], changes: dict[str, Any], tmp_path: Path
) -> None:
    data = data_of(tmp_path, **changes)
    for epoch, start in ((0, 0), (2, 3)):
        assert_the_epoch(loader(data, epoch, start), data, epoch, start)


def test_workers_of_torch_map_the_same_files(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    assert len(pickle.dumps(EpochBatches(data))) < 3000  # paths and the recipe: neither tokens nor a plan
    assert_the_epoch(torch_worker_batches(data, 1, 2), data, 1, 2)


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    count = data.batches(1)
    with pytest.raises(IndexError, match=rf"start: expected 0 to {count} in epoch 1, got {count + 1}"):
        EpochBatches(data, 1, count + 1)
    assert list(EpochBatches(data, 1, count)) == []
    with pytest.raises(IndexError, match=rf"index: expected 0 to {count - 3}, got -1"):
        EpochBatches(data, 1, 2)[-1]
