"""Pretraining as a plain torch loop: a DataLoader, a torch optimizer, autocast.

    python examples/pretrain_torch.py TEXT [--steps 200]

`albert_torch.training.pretrain` does the same with checkpoints, held-out text and resumes; this is for loops of one's
own. pretrain_tf.py and pretrain_flax.py take the same steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch

from albert_core.config import AlbertConfig
from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.data_loaders import torch_loader
from albert_core.parameters import initial_state
from albert_core.pretraining_data import PretrainingData
from albert_core.recipes import PretrainingRecipe
from albert_torch import AlbertForPreTraining, AlbertTokenizer
from albert_torch.optim import make_optimizer


def batches(data: PretrainingData) -> Iterator[dict[str, torch.Tensor]]:
    """One epoch after the other, each with masks of its own."""
    for epoch in itertools.count():
        yield from torch_loader(data, epoch)


def train(
    model: AlbertForPreTraining, data: PretrainingData, recipe: PretrainingRecipe, autocast: bool = False
) -> list[float]:
    """Take the recipe's steps and give the loss of each."""
    device, losses = model.device, []
    optimizer = make_optimizer(recipe, model.named_parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.rate(np, step) / recipe.learning_rate)
    model.train()
    for step, batch in enumerate(itertools.islice(batches(data), recipe.total_steps)):
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            loss = model(**{name: tensor.to(device) for name, tensor in batch.items()}).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_gradient_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        if step % 10 == 9:
            print(f"step {step + 1}/{recipe.total_steps}  loss {loss.item():.3f}", flush=True)
    return torch.stack(losses).tolist()


@click.command()
@click.argument("text", type=click.Path(exists=True, path_type=Path))
@click.option("--tokenizer", default="albert-openstax", help="Folder of a vocabulary.  [default: the bundled one]")
@click.option("--steps", default=200, show_default=True)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--autocast", is_flag=True, help="Matrix products in bfloat16.")
def main(text: Path, tokenizer: str, steps: int, batch_size: int, autocast: bool) -> None:
    """Pretrain a small model on a text file."""
    words = AlbertTokenizer.from_pretrained(tokenizer)
    recipe = PretrainingRecipe(
        batch_size=batch_size, sequence_length=64, max_predictions=None, total_steps=steps, warmup_steps=steps // 10
    )
    config = AlbertConfig(
        vocab_size=len(words), hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
        max_position_embeddings=64, classifier_dropout_prob=0.0,
    )  # fmt: skip
    data = PretrainingData(TokenizedCorpus.read([text], words), Vocabulary.of(words), recipe)
    model = AlbertForPreTraining(config)
    model.load_numpy_state(initial_state(config, model.all_parts(), recipe.seed))  # the same in every framework
    train(model.to("cuda" if torch.cuda.is_available() else "cpu"), data, recipe, autocast)


if __name__ == "__main__":
    main()
