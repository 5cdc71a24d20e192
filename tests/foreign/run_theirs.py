"""Load a converted folder with the class that owns its format, and store what it computes.

Run in the environments of `make peers`: python run_theirs.py bin|h5|msgpack|keras-hub FOLDER OUTPUTS.npz
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1", "3"

import numpy as np  # noqa: E402
from make_foreign import INPUTS, hub_inputs  # noqa: E402


def run_transformers(kind: str, folder: str) -> dict[str, np.ndarray]:
    import transformers

    prefix = {"bin": "", "h5": "TF", "msgpack": "Flax"}[kind]
    head = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    loader = getattr(transformers, prefix + head).from_pretrained
    model, info = (loader(folder), {}) if kind == "msgpack" else loader(folder, output_loading_info=True)
    assert not any(info.values()), info
    if kind == "bin":
        import torch

        with torch.no_grad():
            return model.eval()(**{k: torch.from_numpy(v) for k, v in INPUTS.items()})
    return model(INPUTS, training=False) if kind == "h5" else model(**INPUTS)


def run_keras_hub(folder: str) -> dict[str, np.ndarray]:
    """The class that the preset's task.json names, found as keras-hub's users find it."""
    from keras_hub import models

    task = Path(folder, "task.json")
    if not task.exists():
        outputs = models.Backbone.from_preset(folder)(hub_inputs())
        return {"last_hidden_state": outputs["sequence_output"], "pooler_output": outputs["pooled_output"]}
    if "AlbertMaskedLM" in task.read_text():
        every = {"mask_positions": np.tile(np.arange(INPUTS["input_ids"].shape[1]), (2, 1))}
        return {"logits": models.MaskedLM.from_preset(folder)({**hub_inputs(), **every})}
    return {"logits": models.TextClassifier.from_preset(folder)(hub_inputs())}


def main(kind: str, folder: str, target: str) -> None:
    outputs = run_keras_hub(folder) if kind == "keras-hub" else run_transformers(kind, folder)
    np.savez(target, **{name: np.asarray(value) for name, value in outputs.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
