"""`tf.distribute`: two virtual devices, and two processes on this host, take the steps of one device."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

ROOT = Path(__file__).resolve().parents[1]
BEGIN = """
import os, sys
import numpy as np, tensorflow as tf
{strategy}
import keras
import albert_tf
from albert_core.config import AlbertConfig
from albert_core.parameters import initial_state
from albert_core.recipes import PretrainingRecipe
from albert_core.trainer import parts_of
from albert_tf.optim import AdamW, Lamb
from albert_tf.parallel import ParallelTrainer
from albert_tf.training import Trainer

CONFIG = AlbertConfig(
    vocab_size=37, embedding_size=6, hidden_size=12, num_attention_heads=3, intermediate_size=20, num_hidden_layers=1,
    max_position_embeddings=16, initializer_range=0.3, classifier_dropout_prob=0.0,
)
RECIPE = PretrainingRecipe(total_steps=9, warmup_steps=1, learning_rate=0.01, batch_size=5)

def batch(seed, rows=5):  # an odd number of rows: no two shares are alike
    rng = np.random.default_rng(seed)
    ids, places = rng.integers(1, 37, (rows, 7)), rng.integers(0, 7, (rows, 3))
    labels = np.where(rng.random((rows, 3)) < 0.3, -100, rng.integers(0, 37, (rows, 3)))
    named = dict(input_ids=ids, attention_mask=np.ones_like(ids), token_type_ids=np.zeros_like(ids))
    return named | dict(masked_positions=places, labels=labels, sentence_order_label=rng.integers(0, 2, rows))

def run(trainer, parts):
    trainer.model.load_numpy_state(initial_state(CONFIG, trainer.model.all_parts(), 0))
    metrics = [[float(x) for x in trainer.step(parts_of(batch(s), parts), s)] for s in range(3)]
    return {{"metrics": np.array(metrics)}} | trainer.model.numpy_state() | trainer.numpy_moments()

def fitted(strategy, make):
    with strategy.scope():
        model = albert_tf.TFAlbertForSequenceClassification(CONFIG, dtype="float64")
        model.compile(make(), jit_compile=False)
    model.load_numpy_state(initial_state(CONFIG, model.all_parts(), 0))
    data = tf.data.Dataset.from_tensor_slices({{"input_ids": batch(0, 8)["input_ids"], "labels": np.arange(8) % 2}})
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    found = model.fit(data.batch(4).with_options(options), epochs=2, shuffle=False, verbose=0)
    return {{"loss": np.array(found.history["loss"])}} | model.numpy_state()

def check(mine, theirs, bound=1e-12):
    for name in theirs:
        assert np.abs(mine[name] - theirs[name]).max() < bound, (name, np.abs(mine[name] - theirs[name]).max())
"""
TWO_DEVICES = """
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""
MIRRORED = """
one = run(Trainer(CONFIG, RECIPE, dtype="float64"), 1)
check(run(ParallelTrainer(CONFIG, RECIPE, device=strategy, dtype="float64"), 1), one)  # one part, which is cut

drops = ParallelTrainer(CONFIG.replace(hidden_dropout_prob=0.5), RECIPE, device=strategy)
drops._seed(3)
embedded = strategy.run(tf.function(lambda: drops.model.albert.embeddings(tf.ones((2, 4), tf.int32), training=True)))
first, second = strategy.experimental_local_results(embedded)
assert np.any(first != second), "each device has a dropout of its own"

ids = batch(0, 4)["input_ids"]
with strategy.scope():
    model = albert_tf.TFAlbertForQuestionAnswering(CONFIG, dtype="float64")
found = model.predict(ids, batch_size=4, verbose=0)
assert type(found) is type(model.predict_on_batch(ids)) is model.output_class
check(found, dict(model(ids).items()))

make = lambda: Lamb(0.01)
check(fitted(strategy, make), fitted(tf.distribute.get_strategy(), make), 1e-7)
print("equal")
"""
TWO_PROCESSES = """
strategy = tf.distribute.MultiWorkerMirroredStrategy()
"""
WORKER = """
trainer = ParallelTrainer(CONFIG, RECIPE, device=strategy, dtype="float64")
rank = trainer.process
assert (trainer.shards, trainer.writes) == (2, rank == 0)
assert trainer.agree(15 * rank) == 15
make = lambda: AdamW(0.01)
mine, tuned = run(trainer, 2), fitted(strategy, make)  # a part for each process
if rank == 0:
    check(mine, run(Trainer(CONFIG, RECIPE, dtype="float64"), 1))
    check(tuned, fitted(tf.distribute.get_strategy(), make), 1e-7)
print("equal")
"""


def start(code: str, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code]
    given = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"} | env
    return subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(processes: list[subprocess.Popen[str]]) -> None:
    try:
        for process in processes:
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0, err
            assert out.split()[-1] == "equal"
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_two_devices_are_one() -> None:
    finish([start(BEGIN.format(strategy=TWO_DEVICES) + MIRRORED)])


def test_two_processes_are_one() -> None:
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    roles = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}} for rank in range(2)]
    finish([start(BEGIN.format(strategy=TWO_PROCESSES) + WORKER, TF_CONFIG=json.dumps(role)) for role in roles])
