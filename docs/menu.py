"""A hook of mkdocs: pages that the menu does not name stand at its end.

So a new page is a new file here; mkdocs.yml only says which come first.
"""

from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig

MORE = "More"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add what is missing to the menu."""
    named = set(_names(config.nav))
    root = Path(config.docs_dir)
    pages = sorted(str(page.relative_to(root)) for page in root.rglob("*.md"))
    missing = [page for page in pages if page not in named]
    if missing and config.nav is not None:
        config.nav.append({MORE: missing})
    return config


def _names(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for child in entry.values():
            yield from _names(child)
    elif isinstance(entry, list):
        for child in entry:
            yield from _names(child)
