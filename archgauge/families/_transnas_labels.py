"""What TransNAS-Bench-101 measured, from the collected tables and from the benchmark's own file.

Every network was trained once from scratch on each task, on the benchmark's Taskonomy subset. A label is
`<task>/<split>@<epochs>/run0`, the value after the last epoch:

| task | epochs | value | unit |
|---|---|---|---|
| class_object, class_scene | 25 | top-1 accuracy | percent |
| jigsaw | 10 | top-1 accuracy | percent |
| room_layout | 25 | negative loss, the mean squared error of nine numbers | negative loss |
| segmentsemantic | 30 | accuracy of pixels, and `segmentsemantic/<split>_miou@30/run0` | percent |
| autoencoder, normal | 30 | structural similarity, at most 1 | ssim |

Higher is better everywhere. The collected tables hold the validation split alone, without mIoU. They come from
NASLib, whose code asks for the last epoch.
Their columns on three further data sets, for 192 cells, are not of the benchmark and are left out.
The official file adds the test split, mIoU, and as `<task>/validation@<epochs>/best` the best epoch, which is what the
benchmark's own interface gives by default.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from archgauge.download import Remote
from archgauge.errors import TableError
from archgauge.families._common import labels
from archgauge.formats import transnas
from archgauge.schemas import read_table

EPOCHS = {
    "class_object": 25,
    "class_scene": 25,
    "room_layout": 25,
    "jigsaw": 10,
    "segmentsemantic": 30,
    "autoencoder": 30,
    "normal": 30,
}
UNITS = dict.fromkeys(EPOCHS, "percent") | {"room_layout": "negative loss", "autoencoder": "ssim", "normal": "ssim"}

OFFICIAL_FILE = Remote(
    # A folder, which no program can fetch from: the error of the download says what to take out of it by hand.
    sources=("https://drive.google.com/drive/folders/1HlLr2ihZX_ZuV3lJX_4i7q4w-ZBdhJ6o",),
    file="transnas-bench_v10141024.pth",
)

LABELLED = (
    "Each trained once from scratch on seven tasks of a Taskonomy subset: 25 epochs for objects, scenes and room "
    "layout, 10 for jigsaw, 30 for segmentation, autoencoding and surface normals."
)
LICENCE = "MIT"
CITATION = (
    "Duan, Chen, Xu, Chen, Liang, Zhang, Li: TransNAS-Bench-101: Improving Transferability and Generalizability of "
    "Cross-Task Neural Architecture Search. CVPR 2021."
)


def read_tables(path: Path, family: str, spec_of: Callable[[str], str], specs: frozenset[str]) -> pa.Table:
    """LABELS from the collected transnas101_micro.parquet or transnas101_macro.parquet.

    Args:
        spec_of: spec of what the table's `arch` column holds.
        specs: the whole space.

    Raises:
        TableError: when the file is unreadable or another one, or a value is missing or out of its range.
    """
    columns = {task: f"val_{task}" for task in EPOCHS}
    schema = pa.schema([("arch", pa.large_string()), *((column, pa.float64()) for column in columns.values())])
    rows = read_table(path, schema).to_pylist()
    _check_complete(path, [spec_of(row["arch"]) for row in rows], specs)
    return labels(
        (
            (f"{family}/{spec_of(row['arch'])}", f"{task}/validation@{EPOCHS[task]}/run0", row[column], UNITS[task])
            for task, column in columns.items()
            for row in rows
        ),
        path,
    )


def read_official(path: Path, family: str, prefix: str, suffix: str, specs: frozenset[str]) -> pa.Table:
    """LABELS from transnas-bench_v10141024.pth.

    Args:
        prefix, suffix: what stands around a spec in the benchmark's own string.
        specs: the whole space.

    Raises:
        FormatError: when the file is corrupt, hostile or of another format.
        TableError: when an architecture is missing or not of the space, or a value is out of its range.
    """
    space = family.removeprefix("transnas_")
    runs = list(transnas.read_runs(path, space))
    named = [arch.removeprefix(prefix).removesuffix(suffix) for arch, _ in runs]
    _check_complete(path, named, specs)
    results = zip(named, (result for _, result in runs), strict=True)
    return labels(
        ((f"{family}/{spec}", *label) for spec, result in results for label in _official(result)),
        path,
    )


def _official(result: dict[str, transnas.Curves]) -> Iterator[tuple[str, float, str]]:
    """(label, value, unit) of one architecture."""
    for task, epochs in EPOCHS.items():
        for (split, metric), curve in result[task].items():
            name = f"{task}/{split}_miou@{epochs}" if metric == "mIoU" else f"{task}/{split}@{epochs}"
            yield f"{name}/run0", curve[-1], UNITS[task]
            if split == "validation":
                yield f"{name}/best", max(curve), UNITS[task]


def _check_complete(path: Path, found: Iterable[str], specs: frozenset[str]) -> None:
    """Each architecture of the space stands once."""
    counted = list(found)
    if len(counted) == len(specs) and set(counted) == specs:
        return
    strange, missing = sorted(set(counted) - specs), sorted(specs - set(counted))
    raise TableError(
        "the architectures of TransNAS-Bench-101",
        where=path,
        expected=f"each of the {len(specs):,} of the space once",
        got=f"{len(counted):,}; not of the space: {strange[:3] or 'none'}, missing: {missing[:3] or 'none'}",
        remedy="The file is damaged or of the other space: fetch it again.",
    )
