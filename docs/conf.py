"""How Sphinx builds the site; building.md says how to run it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import neighbours  # noqa: E402 - it lies in this folder
import pictures  # noqa: E402

import fastpw  # noqa: E402

project = "fastpw"
author = copyright = "fastpw contributors"
version = release = fastpw.__version__
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3  # as on GitHub, so that links work in both places
myst_enable_extensions = ["colon_fence"]

# A docstring's `name` leads to the page of that name, where there is one.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say more
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"fastpw {version}"
html_static_path = ["style"]
html_css_files = ["wide.css"]
html_show_sourcelink = False
html_copy_source = False

MADE = HERE / "made"
MADE.mkdir(exist_ok=True)
neighbours.write_pages(MADE)
pictures.draw_all(MADE)


def setup(app):
    app.connect("source-read", neighbours.on_source_read)
