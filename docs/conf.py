"""Configuration of the documentation site, for Sphinx; `make docs` builds it."""

from __future__ import annotations

from pathlib import PurePosixPath

from docutils.nodes import Element, document
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from widthwise import __version__

project = "Widthwise"
author = "The Widthwise developers"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]

# ---------------------------------------------------------------- pages
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"  # a console block is copied without prompts

PAGES = {
    "CHANGELOG": "changelog",
    "CONTRIBUTING": "contributing",
    "README": "index",
    "SECURITY": "security",
    "SUPPORT": "support",
    "examples": "examples",
    "results": "benchmarks",
}
"""Files and folders beside docs/, by the ends of links to them, and the pages that show them."""

# ---------------------------------------------------------------- reference
default_role = "py:obj"  # a name in single backticks is a link where the reference has it
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# ---------------------------------------------------------------- looks
html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"Widthwise {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False


def list_other_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the pages that the contents do not name where the contents leave room for them."""
    if page == "index":
        named = {*source[0].split(), page}
        others = sorted(each for each in app.env.found_docs - named if "/" not in each)
        source[0] = source[0].replace("OTHER-PAGES", "\n".join(others))


def lead_to_pages(app: Sphinx, doctree: document) -> None:
    """Lead links that leave docs/ to the pages of the site."""
    for node in doctree.findall(pending_xref):
        page = PAGES.get(PurePosixPath(node["reftarget"]).stem)
        if node["reftype"] == "myst" and page is not None:
            node.update_all_atts({"refdomain": "doc", "reftarget": page}, replace=True)
            node.setdefault("reftargetid", None)


def find_by_last_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element
) -> Element | None:
    """Find `Search.done`, or a type by the file that defines it, under its public name."""
    target = node["reftarget"]
    if node.get("refdomain") != "py":
        return None
    if target.startswith("widthwise."):
        target = target.rpartition(".")[2]
    known = env.domains.python_domain.objects
    found = {name for name in known if name.endswith(f".{target}") and not known[name].aliased}
    if len(found) != 1:
        return None
    place = known[found.pop()]
    return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, text, target)


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("source-read", list_other_pages)
    app.connect("doctree-read", lead_to_pages)
    app.connect("missing-reference", find_by_last_name)
