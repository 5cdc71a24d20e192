"""One of several processes that train together: python flax_host.py RANK COUNT PORT FOLDER STEPS

Each of them is a host with two devices.
"""

import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax

jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)


def main(rank: int, count: int, port: int, folder: str, steps: int) -> None:
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=count, process_id=rank, initialization_timeout=120)
    from test_training import RECIPE, STILL, data_of

    from albert_flax.parallel import ParallelTrainer
    from albert_flax.training import pretrain

    trainer = ParallelTrainer(STILL, RECIPE.replace(total_steps=steps), dtype="float64")
    assert (jax.process_count(), trainer.shards) == (count, 2 * count)
    pretrain(trainer, data_of(RECIPE), folder, evaluation=data_of(RECIPE, seed=1))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), sys.argv[4], int(sys.argv[5]))
