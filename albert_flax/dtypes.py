"""What a model is computed and stored in."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from albert_core.dtypes import DTYPES, dtype_by_name

__all__ = ["checked_dtype", "stored_in"]


def checked_dtype(dtype: Any) -> np.dtype:
    """A dtype a model can be computed in, given as a name or as an object.

    Raises:
        ValueError: There is no such dtype, or it is float64 while JAX is held to 32 bits.
    """
    found = DTYPES[dtype_by_name(dtype)]
    if found == np.float64 and not jax.config.jax_enable_x64:
        raise ValueError("dtype: float64 needs 64-bit JAX, `with jax.enable_x64(True):`, but x64 is off")
    return found


def stored_in(param_dtype: Any, *dtypes: Any) -> dict[str, Any]:
    """`param_dtype` as an option; weights stay in float32 where half precision is asked for to compute in."""
    dtype = next((dtype for dtype in dtypes if dtype is not None), "auto")
    if param_dtype is None and dtype != "auto" and DTYPES[dtype_by_name(dtype)].itemsize < 4:
        param_dtype = "float32"
    return {} if param_dtype is None else {"param_dtype": param_dtype}
