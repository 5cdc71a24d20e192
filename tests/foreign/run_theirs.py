"""Load a converted folder with the transformers 4 class that owns its format, and store what it computes.

Run in the environment of `make peers`: python run_theirs.py bin|h5|msgpack FOLDER OUTPUTS.npz
"""

from __future__ import annotations

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1", "3"

import numpy as np  # noqa: E402
from make_foreign import INPUTS  # noqa: E402


def main(kind: str, folder: str, target: str) -> None:
    import transformers

    prefix = {"bin": "", "h5": "TF", "msgpack": "Flax"}[kind]
    head = transformers.AutoConfig.from_pretrained(folder).architectures[0]
    loader = getattr(transformers, prefix + head).from_pretrained
    model, info = (loader(folder), {}) if kind == "msgpack" else loader(folder, output_loading_info=True)
    assert not any(info.values()), info
    if kind == "bin":
        import torch

        with torch.no_grad():
            outputs = model.eval()(**{k: torch.from_numpy(v) for k, v in INPUTS.items()})
    else:
        outputs = model(INPUTS, training=False) if kind == "h5" else model(**INPUTS)
    np.savez(target, **{name: np.asarray(value) for name, value in outputs.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
