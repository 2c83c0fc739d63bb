"""The table of modules in docs/architecture.md, made from the modules' docstrings.

`python -m tests.module_table` writes it (`make docs`).
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sweeper"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- modules: written by `make docs` -->"
END = "<!-- end of modules -->"


def table() -> str:
    """Return a row for each module: its name and the first line of its docstring."""
    rows = ["| module | purpose |", "|---|---|"]
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        text = ast.get_docstring(ast.parse(path.read_text()))
        if text and name.parts[0] != "vision":
            rows.append(f"| {name.with_suffix('')} | {text.splitlines()[0]} |")
    return "\n".join(rows)


def write() -> None:
    """Replace the table on the page."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}")


if __name__ == "__main__":
    write()
