"""Fetch a published file; the declared output only says that it is there and whole.

The file itself is no declared output: Snakemake deletes those before a job, and an edit would fetch gigabytes again.
"""

from importlib import import_module
from pathlib import Path

from archgauge import job
from archgauge.download import fetch
from archgauge.files import sha256, whole_file


def main(*, ready: Path, family: str, source: str) -> None:
    remote = import_module(f"archgauge.families.{family}").REMOTES[source]
    target = fetch(remote, ready.with_suffix(""))
    with whole_file(ready) as temporary:
        temporary.write_text(f"{sha256(target)}  {target.name}\n")


if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
