"""What runs again after an edit, on the tiny configuration: exactly what depends on it."""

import json
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from workflow import NOTHING, SETTINGS, Finished, Project

from archgauge.fingerprint import closure

ROOT = Path(__file__).parents[1]

# Printed by a project whose `fingerprint` tells what it hashed.
_TELL = """

_plain = fingerprint


def fingerprint(root, modules):
    modules = list(modules)
    print("CLOSURE", _plain(root, modules), *closure(root, modules))
    return _plain(root, modules)
"""

# The tracer is loaded in processes of the conversion, where nobody takes note of modules.
TRACES = {"convert family=zoo"}

# A traced family's module imports the tracer in its `to_graph`: jobs that only read its specs and labels claim it, too.
# They take seconds. To tell them apart, fingerprints would have to follow calls, or families to hide an import.
CLAIM_THE_TRACER = {"tabulate family=zoo", "label family=zoo"}

MODULES = [
    "archgauge.families.nb101",
    "archgauge.families.nb201",
    "archgauge.predictors.ridge",
    "archgauge.predictors.gradient_boosting",
    "archgauge.pretraining.contrastive",
    "archgauge.encoders.graph_encoder",
    "archgauge.clustering",
    "archgauge.search.random_search",
    "archgauge.evaluation.metrics",
    "archgauge.evaluation.figures",
    "archgauge.job",
]

TINY = yaml.safe_load((ROOT / "tests" / "config.tiny.yaml").read_text())

SETTINGS_OF = {
    "clusterings.fcm_nb101.n_clusters": (4, ["cluster"]),
    "encoders.cl_nb101_nb201.seed": (1, ["pretrain encoder=cl_nb101_nb201"]),
    "experiments.few_labels.splits": (4, ["split experiment=few_labels"]),
    "experiments.few_labels.metrics": (
        [*TINY["experiments"]["few_labels"]["metrics"], "precision@5"],
        ["evaluate experiment=few_labels"],
    ),
    "families.nb101.sample": (31, ["tabulate family=nb101"]),
    "spectrum.eigenvalues": (20, ["spectra", "pretrain"]),
}


@pytest.fixture
def project(finished: Finished, tmp_path: Path) -> Project:
    return finished.project.copy(tmp_path / "project")


def test_a_second_run_does_nothing_and_says_so(project):
    before = project.numbers()
    assert NOTHING in project.finish()
    assert project.numbers() == before


def test_comments_docstrings_and_the_times_of_a_fresh_clone_rerun_nothing(project, tmp_path):
    for path in [*project.path("archgauge").rglob("*.py"), *project.path("workflow_scripts").glob("*.py")]:
        path.write_text(f'{path.read_text()}\n\n# A comment.\n"""And a text that documents."""\n')
    for path in [project.path("Snakefile"), project.path("config.yaml"), project.path(SETTINGS)]:
        path.touch()
    for rules in project.path("rules").glob("*.smk"):
        rules.write_text(f"{rules.read_text()}\n# A comment.\n")
    assert NOTHING in project.finish("--dry-run")


def test_every_module_counts_for_exactly_the_jobs_that_load_it(finished, project):
    """Each job's fingerprint against what Python really loaded in it; together they rerun the same jobs."""
    source = project.path("archgauge/fingerprint.py")
    source.write_text(source.read_text() + _TELL)
    lines = [line.split() for line in project.finish("--dry-run", "--forceall").splitlines()]
    closures = {line[1]: line[2:] for line in lines if line and line[0] == "CLOSURE"}
    hashed: dict[str, set[str]] = {}
    for path in project.path("results/logs").rglob("*.job.json"):
        job = json.loads(path.read_text())
        name = " ".join([job["rule"], *(f"{key}={value}" for key, value in sorted(job["wildcards"].items()))])
        for module in closures[job["fingerprint"]]:
            hashed.setdefault(module, set()).add(name)
    assert set(finished.loaded) == set(finished.jobs)
    tracer = set(closure(ROOT, ["archgauge.graphs.trace"]))
    for module in set().union(*finished.loaded.values()) | {name for name in hashed if not name.endswith(".py")}:
        really, claimed = finished.users(module) | (TRACES if module in tracer else set()), hashed.get(module, set())
        assert really <= claimed, f"an edit of {module} would not rerun {really - claimed}"
        needless = finished.dependants(claimed) - finished.dependants(really)
        assert needless <= (CLAIM_THE_TRACER if module in tracer else set()), f"an edit of {module} reruns too much"
    for script in (name for name in hashed if name.endswith(".py")):
        assert {name.split()[0] for name in hashed[script]} == {Path(script).stem}


@pytest.fixture(scope="module")
def edited(finished, tmp_path_factory) -> Project:
    """One copy for many edits; each test takes its own back."""
    return finished.project.copy(tmp_path_factory.mktemp("edited") / "project")


@pytest.mark.parametrize("module", MODULES)
def test_an_edit_reruns_exactly_the_dependants(finished, edited, module):
    path = edited.path(f"{module.replace('.', '/')}.py")
    before = path.read_text()
    path.write_text(f"{before}\n_EDITED = 1\n")
    try:
        planned = edited.planned()
    finally:
        path.write_text(before)
    users = finished.users(module)
    assert users
    assert set(planned) == finished.dependants(users)


def test_an_edited_script_reruns_its_rule(finished, edited):
    path = edited.path("workflow_scripts/memberships.py")
    before = path.read_text()
    path.write_text(f"{before}\n_EDITED = 1\n")
    try:
        planned = edited.planned()
    finally:
        path.write_text(before)
    assert set(planned) == finished.dependants({name for name in finished.jobs if name.startswith("memberships ")})


@pytest.mark.parametrize("key", SETTINGS_OF)
def test_a_changed_setting_reruns_exactly_the_dependants(finished, edited, key):
    value, first = SETTINGS_OF[key]
    before = edited.path(SETTINGS).read_text()
    edited.configure(key, value)
    try:
        planned = edited.planned()
    finally:
        edited.path(SETTINGS).write_text(before)
    jobs = {name for name in finished.jobs for one in first if name == one or name.split()[0] == one}
    assert set(planned) == finished.dependants(jobs)


def test_more_splits_run_the_new_ones_only(project):
    output = "results/predictions/few_labels/ridge.parquet"
    folder = project.path("results/predictions/few_labels/fragments/ridge")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    old = pq.read_table(project.path(output))
    project.configure("experiments.few_labels.splits", 3)
    project.finish(output)
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 5  # two splits at one size, three at the other
    assert len(after) == 6
    assert before.items() <= after.items()
    new = pq.read_table(project.path(output))
    added = pc.and_(pc.equal(new["n_train"], 20), pc.equal(new["split"], 2))
    assert _rows(new.filter(pc.invert(added))) == _rows(old)


def test_a_lost_output_is_made_again_and_nothing_else(finished, project):
    """What was read only by finished jobs stays away until somebody asks for it."""
    figure = next(name for name, job in finished.jobs.items() if name.startswith("figure_pretraining "))
    for path in finished.jobs[figure].outputs:
        project.path(path).unlink()
    assert set(project.planned()) == {figure}


def test_two_runs_of_one_seed_are_equal_to_the_bit(finished, project):
    """Predictions and what they need, made again from nothing in another folder."""
    shutil.rmtree(project.path("results"))
    outputs = [name for name in finished.project.numbers() if name.startswith("results/predictions/")]
    chosen = [name for name in outputs if Path(name).stem in ("ridge", "random_forest")]
    project.finish(*chosen, cores=1)  # 1 thread a job where the first run had 2
    made = project.numbers()
    assert set(chosen) <= set(made)
    assert made.items() <= finished.project.numbers().items()


def _rows(table) -> list:
    return table.sort_by([(name, "ascending") for name in ("n_train", "split", "arch_id")]).to_pylist()
