"""Writing a table as a page, Markdown, CSV and LaTeX. Equal tables give equal bytes."""

import csv
import io
import math
from pathlib import Path
from unicodedata import normalize

from archgauge.evaluation.pages import as_page
from archgauge.evaluation.tables import MARKS, Entry, ResultTable
from archgauge.files import whole_file

EMPTY = "–"

CSV_COLUMNS = (
    "row",
    "column",
    "mean",
    "standard_error",
    "interval_low",
    "interval_high",
    "runs",
    "best",
    "difference_to_reference",
    "difference_standard_error",
    "difference_p",
    "published",
    "published_standard_deviation",
    "published_source",
    "notes",
)

_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": "$|$",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "<": "$<$",
    ">": "$>$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "τ": r"$\tau$",
    "ρ": r"$\rho$",
    **{mark: rf"\textsuperscript{{{normalize('NFKD', mark)}}}" for mark in MARKS},
}


def write_files(table: ResultTable, *, page: Path, markdown: Path, comma_separated: Path, latex: Path) -> None:
    """Write a table in its four forms, each file whole or not at all."""
    forms = {page: as_html, markdown: as_markdown, comma_separated: as_csv, latex: as_latex}
    for path, form in forms.items():
        with whole_file(path) as temporary:
            temporary.write_text(form(table), encoding="utf-8", newline="\n")


def as_html(table: ResultTable) -> str:
    """Return the table as a page that a browser shows by itself."""
    return as_page(as_markdown(table), table.title)


def as_markdown(table: ResultTable) -> str:
    """Return the table as GitHub's Markdown: title, table, legend, notes."""
    head = [table.corner, *(column + table.column_marks[column] for column in table.columns)]
    lines = [f"**{table.title}**", "", _markdown_line(head), "|---|" + "---:|" * len(table.columns)]
    for row in table.rows:
        entries = (_markdown_entry(table.entries[row, column]) for column in table.columns)
        lines.append(_markdown_line([row + table.row_marks[row], *entries]))
    lines += ["", " ".join(table.legend)]
    for mark, text in table.notes:
        lines += ["", f"{mark} {text}"]
    return "\n".join(lines) + "\n"


def as_csv(table: ResultTable) -> str:
    """Return the table with one line a cell and full precision, columns `CSV_COLUMNS`; a missing number is empty."""
    texts = dict(table.notes)
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in table.rows:
        for column in table.columns:
            entry = table.entries[row, column]
            marks = [table.row_marks[row], table.column_marks[column], entry.marks]
            notes = [texts[mark] for mark in ",".join(marks).split(",") if mark]
            writer.writerow([row, column, *_csv_numbers(entry), "; ".join(dict.fromkeys(notes))])
    return file.getvalue()


def as_latex(table: ResultTable) -> str:
    """Return the table as a LaTeX `table` with booktabs rules; legend and notes stand under it."""
    columns = [_latex(column) + _latex_marks(table.column_marks[column]) for column in table.columns]
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        " & ".join([_latex(table.corner), *columns]) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        entries = (_latex_entry(table.entries[row, column]) for column in table.columns)
        lines.append(" & ".join([_latex(row) + _latex_marks(table.row_marks[row]), *entries]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", "", r"\footnotesize", _latex(" ".join(table.legend))]
    lines += [rf"\\ {_latex_marks(mark)} {_latex(text)}" for mark, text in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _number(entry: Entry) -> str:
    if entry.summary is None:
        return EMPTY
    mean = f"{entry.summary.mean:.{entry.decimals}f}"
    if entry.summary.runs <= 1:
        return mean
    return f"{mean} ± {entry.summary.standard_error:.{entry.decimals}f}"


def _after_number(entry: Entry) -> str:
    runs = f" ({entry.summary.runs})" if entry.summary is not None and entry.summary.runs else ""
    if entry.interval is not None:
        low, high = (f"{bound:.{entry.decimals}f}" for bound in entry.interval)
        runs += f" ({low} to {high})"
    return runs + (f" {entry.direction}" if entry.direction else "")


def _brackets(entry: Entry) -> str:
    return f" [{entry.published.text}]" if entry.published is not None else ""


def _markdown_entry(entry: Entry) -> str:
    number = f"**{_number(entry)}**" if entry.best else _number(entry)
    return number + _after_number(entry) + entry.marks + _brackets(entry)


def _markdown_line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _latex_entry(entry: Entry) -> str:
    number = _latex(_number(entry))
    number = rf"\textbf{{\boldmath {number}}}" if entry.best else number
    return number + _latex(_after_number(entry)) + _latex_marks(entry.marks) + _latex(_brackets(entry))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_marks(marks: str) -> str:
    return rf"\textsuperscript{{{_latex(marks)}}}" if marks else ""


def _csv_numbers(entry: Entry) -> list[str]:
    ours, apart, theirs = entry.summary, entry.difference, entry.published
    numbers = [
        ours and ours.mean,
        ours and ours.standard_error,
        entry.interval and entry.interval[0],
        entry.interval and entry.interval[1],
        ours and ours.runs,
        entry.best,
        apart and apart.mean,
        apart and apart.standard_error,
        apart and apart.p,
        theirs and theirs.value,
        theirs and theirs.spread,
        theirs and theirs.source,
    ]
    return ["" if number is None or _is_nan(number) else str(number) for number in numbers]


def _is_nan(number: object) -> bool:
    return isinstance(number, float) and math.isnan(number)
