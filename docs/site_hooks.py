"""Pages of the site that lie outside `docs/`, and links between the two, as mkdocs calls for them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md", "SPEC.md": "SPEC.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md",
    "SECURITY.md": "SECURITY.md",
    "golden/README.md": "golden.md", "notebooks/README.md": "notebooks.md",
}  # fmt: skip
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """The pages outside, under their names here, and the notebooks as they are."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{notebook.name}", abs_src_path=str(notebook)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they hold in the repository become links of the site; one to a file that is no page stays as text."""
    sources = {name: source for source, name in PAGES.items()}
    here = Path(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match[1], posixpath.normpath((here / match[2]).as_posix()), match[3] or ""
        if target in PAGES:
            return f"[{text}]({PAGES[target]}{anchor})"
        if target.startswith("docs/"):
            return f"[{text}]({target.removeprefix('docs/')}{anchor})"
        if target.startswith("notebooks/") and target.endswith(".ipynb"):
            return f"[{text}]({target}{anchor})"
        return text

    return _LINK.sub(link, markdown)

