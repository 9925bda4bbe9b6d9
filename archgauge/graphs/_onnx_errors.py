"""What is said when the reader of ONNX files itself fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archgauge.errors import FormatError

_FAILURES = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, AssertionError)


@contextmanager
def reading(path: Path, where: str) -> Iterator[None]:
    """Name the place in a file at which its reader failed: only a check can tell a damaged file from our own fault.

    Raises:
        FormatError: when it does.
    """
    try:
        yield
    except _FAILURES as error:
        raise FormatError(
            "what the reader of ONNX files understands",
            where=f"{path}, {where}",
            expected="inputs and attributes as ONNX defines them",
            got=f"{type(error).__name__}: {error}",
            remedy="Where onnx.checker.check_model accepts the file, the reader is at fault: report this message; "
            "else the file is damaged: export the model again.",
        ) from error
