"""Makes pages of the site from files that lie elsewhere in the repository, and of the public names.

Pages link to such files as on GitHub, `[...](../bench/README.md)`. On the site these links lead to the pages
that are made of the files; where there is none, the link is left out and its text stays.
"""

import os
import re
from pathlib import Path

import fastpw

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# Pages of the site, in the folder made/, from files of the repository.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "../index.md",
    "bench/README.md": "benchmarks.md",
    "bench/constants.md": "constants.md",
    "examples/README.md": "examples.md",
}

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:)([^)#\s]+)(#[^)]*)?\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\((?!\w+:)([^)\s]+)\)")

# The public names, page by page; a name that stands nowhere goes to the last.
API = {
    "The 1x1 convolution": [
        "conv1x1",
        "Conv1x1",
        "conv1x1_backward",
        "Gradients",
        "fold_batch_norm",
        "activations",
    ],
    "The layers around it": [
        *["Conv2d", "conv2d", "conv2d_backward", "DepthwiseConv2d", "depthwise_conv2d"],
        *["depthwise_conv2d_backward", "MaxPool2d", "AveragePool2d", "GlobalAveragePool", "ChannelShuffle"],
    ],
    "Layers of layers": ["Chain", "Concat"],
    "Networks": ["load", "Network"],
    "Threads and the machine": ["get_num_threads", "set_num_threads", "num_threads", "show_config"],
    "Integers, and more": [],
}


def relinked(text, source, page):
    """The text of a file, with links that lead from a page of the site; both are paths from the root."""

    def target(path):
        return os.path.normpath(source.parent / path)

    def link(match):
        words, path, anchor = match.groups()
        goal = target(path)
        if goal in PAGES:
            goal = os.path.normpath(f"docs/made/{PAGES[goal]}")
        elif goal.startswith("examples/") and goal.endswith(".py"):
            goal, anchor = "docs/made/examples.md", "#" + Path(goal).name.replace(".", "")
        elif not goal.startswith("docs/"):
            return words
        return f"[{words}]({os.path.relpath(goal, page.parent)}{anchor or ''})"

    def image(match):
        return f"![{match[1]}]({os.path.relpath(target(match[2]), page.parent)})"

    return IMAGE.sub(image, LINK.sub(link, text))


def on_source_read(app, docname, content):
    """Sphinx asks for a page: its links to files elsewhere become links to pages."""
    if docname == "index":
        content[0] = "\n".join(filter(_leads_somewhere, content[0].splitlines()))
    if not docname.startswith("made/"):
        page = Path("docs") / f"{docname}.md"
        content[0] = relinked(content[0], page, page)


def _leads_somewhere(line):
    """Whether a line of the navigation finds its pages: `name*` stands for pages that there may be."""
    return not line.endswith("*") or any(DOCS.glob(f"{line}.md"))


def write_pages(folder):
    """All of them, into the folder made/; those that are as they were keep their time."""
    pages = {"api.md": api()}
    for source, name in PAGES.items():
        if name.startswith(".."):
            continue
        text = (ROOT / source).read_text()
        if source == "examples/README.md":
            text += listings()
        pages[name] = relinked(text, Path(source), Path("docs/made") / name)
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def listings():
    """Every example as a whole, each below a heading that links can lead to."""
    files = sorted((ROOT / "examples").glob("*.py"))
    return "".join(f"\n## {path.name}\n\n```python\n{path.read_text()}```\n" for path in files)


def api():
    """The reference: every public name, from its docstring."""
    names = [name for name in fastpw.__all__ if name != "__version__"]
    known = {name for listed in API.values() for name in listed}
    groups = {title: [name for name in listed if name in names] for title, listed in API.items()}
    groups[[*groups][-1]] += [name for name in names if name not in known]
    text = "# Reference\n\nEvery public name of `fastpw`, from its docstring, as `help` shows it.\n"
    for title, listed in groups.items():
        if listed:
            text += f"\n## {title}\n"
            text += "".join(map(entry, listed))
    return text


def entry(name):
    """The directives for one name."""
    public = getattr(fastpw, name)
    if not isinstance(public, type):
        return f"\n### {name}\n\n```{{eval-rst}}\n.. autofunction:: fastpw.{name}\n```\n"
    options = "   :members:\n   :inherited-members: tuple, object\n"
    if "__call__" in dir(public) and not issubclass(public, tuple):
        options += "   :special-members: __call__\n"
    if issubclass(public, tuple):
        options = ""
    return f"\n### {name}\n\n```{{eval-rst}}\n.. autoclass:: fastpw.{name}\n{options}```\n"
