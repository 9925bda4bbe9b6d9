"""Numbers as people read them."""

_PREFIXES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def units(count: float) -> str:
    """A count with three digits and its unit: 4.09 G, 25.6 M, 512."""
    for prefix, size in _PREFIXES:
        if count >= 0.9995 * size:  # 999,950 is 1.00 M
            value = count / size
            return f"{value:.{max(0, 3 - len(f'{value:.0f}'))}f} {prefix}"
    return f"{count:.0f}"


def short(arch_id: str) -> str:
    """The name of a network without family and package: "resnet50"."""
    return arch_id.rpartition("/")[2].rpartition(":")[2]
