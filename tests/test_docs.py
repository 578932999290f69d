"""The pages under docs/: their blocks of Python run, and the site is built without a warning and loads nothing."""

import re
import runpy
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fastmlp.datasets import mnist, printed_digits
from fastmlp.kernels._jit import JIT

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

#: Above a block: it needs a network, or a long time, or stands for others, and isn't run.
SKIP = "<!-- not run"


def program(text):
    """The page's blocks of Python, and its commands `$ fastmlp ...`, as one program, each on the page's own lines."""
    lines, fence, skipped = [], None, False
    for line in text.splitlines():
        begins = re.match(r"( *)```(\w*)", line)
        code = ""
        if fence is None and begins:
            fence, indent = begins.group(2), len(begins.group(1))
        elif fence is not None and line.strip() == "```":
            fence, skipped = None, False
        elif fence is None:
            skipped = line.startswith(SKIP) if line.strip() else skipped
        elif not skipped and fence == "python":
            code = line[indent:]
        elif not skipped and fence == "console" and line.startswith("$ fastmlp "):
            code = f"import fastmlp.cli; assert fastmlp.cli.main({shlex.split(line, comments=True)[2:]}) == 0"
        lines.append(code)
    return "\n".join(lines)


PAGES = {path.relative_to(DOCS).as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
PROGRAMS = {name: code for name, path in PAGES.items() if (code := program(path.read_text("utf-8"))).strip()}


def needed(name):
    """What a page imports that not everybody has, from a comment at its top: <!-- needs: onnx, pandas -->."""
    found = re.match(r"<!-- needs: (.*?) -->", PAGES[name].read_text("utf-8"))
    return [module.strip() for module in found.group(1).split(",")] if found else []


def test_blocks_keep_their_lines():
    run, skipped, text = (
        "```python\na = 1\n```\n",
        "<!-- not run: long -->\n\n```python\nb = 2\n```\n",
        "```text\nc\n```\n",
    )
    page = f"# Title\n\n{run}\n{skipped}{text}    ```python\n    d = 4\n    ```"
    assert [(i, line) for i, line in enumerate(program(page).split("\n")) if line] == [(3, "a = 1"), (15, "d = 4")]


def test_commands_of_fastmlp_are_run_too():
    page = "```console\n$ pip install .\n$ fastmlp digits --out 'a b'   # figures\nepoch 1\n```"
    assert "['digits', '--out', 'a b']" in program(page)
    assert "pip" not in program(page)


@pytest.fixture(scope="module")
def digits():
    """MNIST, or the printed digits where it can't be had: read once, as most pages begin with it."""
    try:
        return mnist.load_data()
    except OSError:
        return printed_digits.load_data()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
@pytest.mark.skipif(not JIT, reason="pages train on whole data sets")
@pytest.mark.parametrize("name", PROGRAMS)
def test_blocks_of_a_page_run(name, digits, tmp_path, monkeypatch):
    for module in needed(name):
        pytest.importorskip(module)
    path = tmp_path / f"{Path(name).stem}.py"
    path.write_text(PROGRAMS[name], "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mnist, "load_data", lambda: digits)
    runpy.run_path(str(path))


class Loads(HTMLParser):
    """What a page loads: addresses of styles, scripts, fonts, images and frames."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio") and attrs.get("src"):
            self.addresses.append(attrs["src"])
        if tag == "link" and attrs.get("rel") != "canonical" and attrs.get("href"):
            self.addresses.append(attrs["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the built site."""
    for module in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(module)
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        folder = tmp_path_factory.mktemp("site")
        build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder)))
    return folder


@pytest.mark.filterwarnings("default")  # of mkdocs and its plugins; the site's own are errors by `strict`
def test_site_loads_from_nowhere_else(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(PAGES)  # and a page for those that aren't there
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text("utf-8"))
        assert loads.addresses
        assert not [address for address in loads.addresses if re.match(r"(https?:)?//", address)], page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text("utf-8")), style.name
