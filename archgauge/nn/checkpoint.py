"""Files of tensors and plain values under the name of a format: whole or not at all, and reading them runs nothing."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from archgauge.errors import FormatError
from archgauge.files import whole_file


def write_checkpoint(path: str | Path, form: str, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values by name; `form` names the format and its version."""
    with whole_file(path) as temporary:
        torch.save({"format": form, **content}, temporary)


def read_checkpoint(path: str | Path, form: str, *, what: str, remedy: str) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote, tensors on the CPU.

    Args:
        form: the format that the file has to name.
        what: the file is to be, and `remedy` where it is not, for the message.

    Raises:
        FormatError: when the file is missing, damaged, or something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content.pop("format")
    except (RuntimeError, OSError, EOFError, LookupError, TypeError, AttributeError, ValueError,
            pickle.UnpicklingError) as error:  # fmt: skip
        found = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if found != form:
        raise FormatError(what, where=path, expected=f"a file that says {form!r}", got=found, remedy=remedy)
    return content
