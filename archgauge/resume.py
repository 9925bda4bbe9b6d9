"""Files from which a training goes on where it was killed."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch


def read_resume(path: Path, identity: str, what: str) -> dict[str, Any] | None:
    """The content of a resume file of a run of this identity, on the CPU; only tensors and plain values are loaded.

    A file of another run, or a damaged one, is warned about.

    Args:
        identity: what the file has to hold under "identity".
        what: what starts from the beginning without it.
    """
    if not path.exists():
        return None
    try:
        # Generator states have to stay on the CPU; load_state_dict moves the weights to where they belong.
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["identity"] == identity:
            return content
        reason = "it belongs to a run with other settings, data or code"
    except (
        RuntimeError,
        OSError,
        EOFError,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        reason = f"it cannot be read ({type(error).__name__})"
    warnings.warn(f"the resume file {path} is ignored: {reason}; {what} starts from the beginning", stacklevel=4)
    return None
