"""The errors of the package. Each says what was checked, where, what was expected, what came, and what to do."""


class ArchgaugeError(Exception):
    """Base of every error that Archgauge raises on purpose.

    Args:
        checked: what was being checked, as a noun phrase ("the sha256 of a download").
        where: the file, `arch_id` or config key that failed.
        expected: what would have been right.
        got: what came instead.
        remedy: one sentence, what the reader should do.
    """

    def __init__(self, checked: str, *, where: object, expected: object, got: object, remedy: str):
        super().__init__(f"{checked} at {where}: expected {expected}, got {got}. {remedy}")
        self.checked, self.where, self.expected, self.got, self.remedy = checked, where, expected, got, remedy

    def __reduce__(self):
        """Survive a trip between processes: keyword-only arguments are not picklable by default."""
        return _rebuild, (type(self), self.checked, self.where, self.expected, self.got, self.remedy)


def _rebuild(kind, checked, where, expected, got, remedy):
    return kind(checked, where=where, expected=expected, got=got, remedy=remedy)


class ConfigError(ArchgaugeError):
    """A setting in the configuration is unknown, of the wrong type or out of range."""


class TableError(ArchgaugeError):
    """A Parquet table is unreadable, truncated, or its columns or values break its contract."""


class FormatError(ArchgaugeError):
    """A file in a benchmark's official format is corrupt, truncated or hostile."""


class DownloadError(ArchgaugeError):
    """A file could not be fetched, or what was fetched is not what was published."""


class SpecError(ArchgaugeError):
    """An architecture's native encoding does not describe a valid architecture of its family."""


class GraphError(ArchgaugeError):
    """A computation graph is not valid, or an operation has no meaning in this context."""


class PredictorError(ArchgaugeError):
    """A predictor was given labels or inputs that it cannot learn from."""


class BundleError(ArchgaugeError):
    """A predictor bundle is corrupt, truncated, hostile, or of another version."""


class DeviceError(ArchgaugeError):
    """A device could not be leased."""
