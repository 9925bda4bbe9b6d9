"""Pages of Markdown as HTML that a browser shows by itself: one file each, readable in light and dark."""

import base64
import html
from pathlib import Path

from markdown_it import MarkdownIt

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
       color: light-dark(#1f2328, #e6edf3); background: light-dark(#ffffff, #0d1117); }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
th, td {{ border-bottom: 1px solid light-dark(#d0d7de, #30363d); padding: .3em .8em; white-space: nowrap; }}
th {{ border-bottom-width: 2px; }}
tbody tr:hover {{ background: light-dark(#f6f8fa, #161b22); }}
img {{ max-width: 100%; }}
a {{ color: light-dark(#0969da, #4493f8); }}
</style>
</head>
<body>
{body}</body>
</html>
"""


def as_page(markdown: str, title: str, folder: Path = Path()) -> str:
    """Return Markdown as an HTML page that needs no other file.

    Args:
        title: of the browser's window.
        folder: where the Markdown stands; its SVG figures are found from there and become part of the page.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        for part in token.children or ():
            if part.type == "image":
                drawing = (folder / str(part.attrs["src"])).read_bytes()
                part.attrs["src"] = "data:image/svg+xml;base64," + base64.b64encode(drawing).decode()
    return _PAGE.format(title=html.escape(title), body=parser.renderer.render(tokens, parser.options, {}))
