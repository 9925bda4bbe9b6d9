"""Pages: what a browser shows is what the Markdown says, and nothing outside the file is needed."""

import base64
import html.parser
import re

from archgauge.evaluation.pages import as_page

MARKDOWN = """**Cells <few>**

| predictor | ρ |
|---|---:|
| a\\|b | **0.9 ± 0.1** |
| <script>alert(1)</script> | – |

† a note & more
"""


class Cells(html.parser.HTMLParser):
    """Texts of the cells, and the names of all elements."""

    def __init__(self):
        super().__init__()
        self.elements, self.cells = [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells and "td" in self.elements:
            self.cells[-1] += data


def test_cells_survive_and_nothing_runs():
    page = Cells()
    page.feed(as_page(MARKDOWN, "a < b"))
    assert [cell.split("\n")[0] for cell in page.cells] == [
        "",
        "",
        "a|b",
        "0.9 ± 0.1",
        "<script>alert(1)</script>",
        "–",
    ]
    assert "script" not in page.elements
    assert "<title>a &lt; b</title>" in as_page(MARKDOWN, "a < b")


def test_figures_become_part_of_the_page(tmp_path):
    drawing = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "one.svg").write_bytes(drawing)
    page = as_page("![one](../figures/one.svg)", "one", tmp_path / "figures")
    (source,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', page)
    assert base64.b64decode(source) == drawing
