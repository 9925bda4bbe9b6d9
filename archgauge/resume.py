"""Files from which a training goes on where it was killed."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archgauge.errors import FormatError
from archgauge.nn.checkpoint import read_checkpoint, write_checkpoint

_FORMAT = "archgauge resume file 1"


def write_resume(path: Path, content: Mapping[str, Any]) -> None:
    """Write the state of a training, whole or not at all; "identity" says of which run."""
    write_checkpoint(path, _FORMAT, content)


def read_resume(path: Path, identity: str, what: str) -> dict[str, Any] | None:
    """The content of a resume file of a run of this identity; only tensors and plain values are loaded.

    Generator states have to stay on the CPU, where all of it is read; `load_state_dict` moves weights to where they
    belong. A file of another run, or a damaged one, is warned about.

    Args:
        identity: what the file has to hold under "identity".
        what: what starts from the beginning without it.
    """
    if not path.exists():
        return None
    try:
        content = read_checkpoint(path, _FORMAT, what="a resume file", remedy="Delete it.")
        if content.get("identity") == identity:
            return content
        reason = "it belongs to a run with other settings, data or code"
    except FormatError as error:
        reason = f"it cannot be read ({error.got})"
    warnings.warn(f"the resume file {path} is ignored: {reason}; {what} starts from the beginning", stacklevel=4)
    return None
