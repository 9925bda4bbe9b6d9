"""What changes a fingerprint, and what does not."""

import subprocess
import sys
from pathlib import Path

import black
import pytest

from archgauge.errors import ConfigError
from archgauge.fingerprint import PACKAGE_ROOT, choices, closure, fingerprint

TREE = {
    "scripts/embed.py": """
        import torch
        from archgauge import job
        from archgauge.encoders.knn import Encoder
        import helpers

        def main(*, table):
            Encoder().fit(table)
        """,
    "scripts/helpers.py": "WIDTH = 3\n",
    "scripts/other.py": "import archgauge.metrics\n",
    "archgauge/__init__.py": "",
    "archgauge/job.py": "from .files import whole_file\n",
    "archgauge/files.py": "BLOCK = 4096\n",
    "archgauge/metrics.py": "def rank(x):\n    return sorted(x)\n",
    "archgauge/encoders/__init__.py": "",
    "archgauge/encoders/knn.py": """
        from ..nn import layers
        from archgauge.nn.norms import normalise

        class Encoder:
            \"\"\"An encoder.\"\"\"

            def fit(self, table):
                \"\"\"Fit it.\"\"\"
                # Scale first.
                from archgauge.late import SCALE
                return normalise(table * SCALE, (1, 2, 3), name='mean')
        """,
    "archgauge/late.py": "SCALE = 2\n",
    "archgauge/nn/__init__.py": "from . import inits\n",
    "archgauge/nn/inits.py": "GAIN = 1.0\n",
    "archgauge/nn/layers.py": "DEPTH = 6\n",
    "archgauge/nn/norms.py": "def normalise(x, axes, name):\n    return x\n",
    "archgauge/predictors/__init__.py": "",
    "archgauge/predictors/_shared.py": "class Predictor:\n    pass\n",
    "archgauge/predictors/population.py": "class Population:\n    pass\n",
    "archgauge/predictors/ridge.py": "from archgauge.solve import solve\n\nclass Predictor:\n    ALPHA = 1\n",
    "archgauge/predictors/forest.py": "class Predictor:\n    TREES = 100\n",
    "archgauge/predictors/deep/__init__.py": "def _make(): ...\n\nPredictor = _make()\n",
    "archgauge/solve.py": "def solve(x):\n    return x\n",
}
SCRIPT = ["scripts/embed.py"]


@pytest.fixture
def tree(tmp_path):
    """Write the small project, each time to another folder: files are cached by path."""
    count = 0

    def write() -> Path:
        nonlocal count
        count += 1
        root = tmp_path / f"copy{count}"
        for name, text in TREE.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_dedented(text))
        return root

    return write


def edited(tree, name: str, old: str, new: str) -> Path:
    assert old in _dedented(TREE[name])
    root = tree()
    (root / name).write_text(_dedented(TREE[name]).replace(old, new))
    return root


def _dedented(text: str) -> str:
    return text.replace("\n        ", "\n").lstrip("\n")


def test_closure_follows_every_form_of_import(tree):
    assert closure(tree(), SCRIPT) == [
        "archgauge",
        "archgauge.encoders",
        "archgauge.encoders.knn",
        "archgauge.files",
        "archgauge.job",
        "archgauge.late",
        "archgauge.nn",
        "archgauge.nn.inits",
        "archgauge.nn.layers",
        "archgauge.nn.norms",
        "scripts/embed.py",
        "scripts/helpers.py",
    ]


def test_place_of_the_project_and_order_of_names_do_not_count(tree):
    names = ["scripts/embed.py", "archgauge.predictors.ridge"]
    assert fingerprint(tree(), names) == fingerprint(tree(), reversed(names))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("archgauge/encoders/knn.py", "# Scale first.", "# Scale before anything else."),
        ("archgauge/encoders/knn.py", '"""An encoder."""', '"""An encoder of graphs, at length.\n\n    With lines."""'),
        ("archgauge/encoders/knn.py", '    """Fit it."""\n', ""),
        ("archgauge/encoders/knn.py", "class Encoder", "\n\n\n\nclass Encoder"),
        ("archgauge/encoders/knn.py", "'mean'", 'u"mean"'),
        ("archgauge/encoders/knn.py", "(1, 2, 3)", "(\n    1,\n    2,  # two\n    3,\n)"),
        ("archgauge/nn/layers.py", "DEPTH = 6\n", 'DEPTH = 6\n"""How many layers."""\n'),
        ("scripts/embed.py", "def main", "# A comment.\ndef main"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tree, name, old, new):
    assert fingerprint(edited(tree, name, old, new), SCRIPT) == fingerprint(tree(), SCRIPT)


def test_a_formatter_changes_nothing(tmp_path):
    """Black keeps the meaning of a file: real modules, squeezed to 40 columns, have the fingerprint they had."""
    for copy in ("before", "after"):
        (tmp_path / copy).mkdir()
    names = ["errors.py", "files.py", "fingerprint.py", "schemas.py"]
    for name in names:
        text = (PACKAGE_ROOT / "archgauge" / name).read_text()
        formatted = black.format_str(text, mode=black.Mode(line_length=40))
        assert formatted != text
        (tmp_path / "before" / name).write_text(text)
        (tmp_path / "after" / name).write_text(formatted)
    assert fingerprint(tmp_path / "after", names) == fingerprint(tmp_path / "before", names)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("scripts/embed.py", "fit(table)", "fit(table[1:])"),
        ("scripts/helpers.py", "3", "4"),
        ("archgauge/encoders/knn.py", "'mean'", "'sum'"),
        ("archgauge/nn/layers.py", "6", "7"),
        ("archgauge/nn/inits.py", "1.0", "1"),  # equal numbers of another type
        ("archgauge/nn/__init__.py", "from", "LEVEL = 1\nfrom"),
        ("archgauge/files.py", "4096", "True"),
        ("archgauge/late.py", "SCALE = 2", "SCALE = -2"),
    ],
)
def test_code_that_is_reached_counts(tree, name, old, new):
    assert fingerprint(edited(tree, name, old, new), SCRIPT) != fingerprint(tree(), SCRIPT)


def test_code_that_is_not_reached_does_not_count(tree):
    changed = edited(tree, "archgauge/metrics.py", "sorted(x)", "list(x)")
    assert fingerprint(changed, SCRIPT) == fingerprint(tree(), SCRIPT)
    assert fingerprint(changed, ["scripts/other.py"]) != fingerprint(tree(), ["scripts/other.py"])


def test_a_module_found_by_name_counts_only_where_it_is_named(tree):
    ridge, forest = ([*SCRIPT, f"archgauge.predictors.{name}"] for name in ("ridge", "forest"))
    changed = edited(tree, "archgauge/solve.py", "return x", "return -x")
    assert fingerprint(changed, SCRIPT) == fingerprint(tree(), SCRIPT)
    assert fingerprint(changed, forest) == fingerprint(tree(), forest)
    assert fingerprint(changed, ridge) != fingerprint(tree(), ridge)
    assert len({fingerprint(tree(), names) for names in (SCRIPT, ridge, forest)}) == 3


def test_swapped_contents_count(tree):
    root = tree()
    (root / "archgauge/late.py").write_text(TREE["archgauge/files.py"])
    (root / "archgauge/files.py").write_text(TREE["archgauge/late.py"])
    assert fingerprint(root, SCRIPT) != fingerprint(tree(), SCRIPT)


def test_equal_code_under_another_name_is_other_code(tree):
    root = tree()
    names = [f"archgauge.predictors.{name}" for name in ("ridge", "twin")]
    (root / "archgauge/predictors/twin.py").write_text(TREE["archgauge/predictors/ridge.py"])
    assert fingerprint(root, names[:1]) != fingerprint(root, names[1:])


def test_import_cycles_end(tree):
    root = edited(tree, "archgauge/late.py", "SCALE", "import archgauge.encoders.knn\nSCALE")
    assert "archgauge.late" in closure(root, SCRIPT)


def test_an_unknown_name_lists_the_choices(tree):
    with pytest.raises(ConfigError, match=r"predictors\.rigde: expected one of .*forest.*ridge.*config\.yaml"):
        fingerprint(tree(), [*SCRIPT, "archgauge.predictors.rigde"])


def test_a_missing_script_is_named(tree):
    with pytest.raises(ConfigError, match=r"scripts/gone\.py: expected an existing script"):
        fingerprint(tree(), ["scripts/gone.py"])


def test_an_import_of_a_missing_module_is_named(tree):
    root = edited(tree, "archgauge/late.py", "SCALE", "from archgauge.nn.gone import x\nSCALE")
    with pytest.raises(ConfigError, match=r"archgauge\.nn\.gone: expected one of inits, layers, norms"):
        fingerprint(root, SCRIPT)


def test_a_broken_file_is_named(tree):
    root = edited(tree, "archgauge/late.py", "= 2", "= (2")
    with pytest.raises(ConfigError, match=r"late\.py: expected valid Python, got .*never closed"):
        fingerprint(root, SCRIPT)


def test_choices_are_the_modules_that_define_the_member(tree):
    assert choices("archgauge.predictors", "Predictor", tree()) == ["deep", "forest", "ridge"]
    assert choices("archgauge.nn", "DEPTH", tree()) == ["layers"]
    assert choices("archgauge.nowhere", "x", tree()) == []


def test_the_whole_package_without_a_heavy_import():
    """The Snakefile pays for this at each start."""
    modules = [
        ".".join(path.relative_to(PACKAGE_ROOT).with_suffix("").parts)
        for path in PACKAGE_ROOT.glob("archgauge/**/*.py")
        if path.name != "__init__.py"
    ]
    code = f"""
import sys
from archgauge.fingerprint import fingerprint
fingerprint({str(PACKAGE_ROOT)!r}, {modules!r})
heavy = {{"torch", "numpy", "pyarrow", "snakemake", "mlflow"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE_ROOT)
