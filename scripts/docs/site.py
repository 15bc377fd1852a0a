#!/usr/bin/env python3
"""Builds the documentation as a site, without a warning of mkdocs, and checks every link in it.

    scripts/docs/site.py build/docs [--repository URL]

The folder then holds html/, to be read from there or put on a server. Links out of docs/ (to sources) lead to the
repository where --repository names one, and are plain text otherwise; that their files exist is checked here.
"""

import argparse
import html.parser
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

import api

ROOT = Path(__file__).resolve().parent.parent.parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def outside_code(text, change):
    """Applies `change` to what is neither in a fenced block nor indented by four."""
    out, fenced = [], False
    for line in text.splitlines(keepends=True):
        if line.startswith("```"):
            fenced = not fenced
        out.append(line if fenced or line.startswith("    ") else change(line))
    return "".join(out)


def staged(text, source, repository, errors):
    """A page as the site has it: links between pages stay, those to other files of the repository do not."""
    def link(match):
        picture, words, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or re.match(r"\w+:", path):
            return match[0]
        file = Path(os.path.normpath(source.parent / path))
        if not file.exists():
            errors.append(f"{source.relative_to(ROOT)}: no file {path}")
            return match[0]
        if file == ROOT / "README.md":
            return f"{picture}[{words}](index.md)"
        if file.is_relative_to(ROOT / "docs") and file.is_file():
            return f"{picture}[{words}]({file.relative_to(ROOT / 'docs')}{'#' if anchor else ''}{anchor})"
        return f"[{words}]({repository}/{file.relative_to(ROOT)})" if repository else words
    return outside_code(text, lambda line: LINK.sub(link, line))


def stage(out, repository):
    """The folder that mkdocs builds from."""
    errors, pages = [], out / "pages"
    shutil.rmtree(out, ignore_errors=True)
    pages.mkdir(parents=True)
    for source in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        name = "index.md" if source.name == "README.md" else source.name
        (pages / name).write_text(staged(source.read_text(), source, repository, errors))
    shutil.copytree(ROOT / "docs/site/css", pages / "css")
    shutil.copytree(ROOT / "docs/figures", pages / "figures")
    nav = api.write(ROOT, pages / "api")
    config = (ROOT / "docs/site/mkdocs.yml").read_text().replace("  - API: API\n", nav)
    (out / "mkdocs.yml").write_text(config)
    return errors


class Page(html.parser.HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id") or "")
        if tag in ("a", "img", "link", "script"):
            self.links.append(attributes.get("href") or attributes.get("src") or "")


def broken_links(site):
    """What is wrong with the links: files and anchors that are not there, addresses that are none."""
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of the server's root
            continue
        for link in filter(None, page.links):
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                if parts.scheme == "mailto" or (parts.scheme in ("http", "https") and "." in parts.netloc):
                    continue
                yield f"{path.relative_to(site)}: '{link}' is no address"
                continue
            target = path if not parts.path else Path(os.path.normpath(path.parent / urllib.parse.unquote(parts.path)))
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{path.relative_to(site)}: no file for '{link}'"
            elif target in pages and urllib.parse.unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path.relative_to(site)}: no anchor for '{link}'"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--repository", default="", help="address of the sources, for links to them")
    arguments = parser.parse_args()
    errors = stage(arguments.out, arguments.repository.rstrip("/"))
    build = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", arguments.out / "mkdocs.yml"],
                           env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    if build.returncode == 0:
        errors += broken_links(arguments.out / "html")
    for error in dict.fromkeys(errors):
        print(f"docs: {error}", file=sys.stderr)
    if build.returncode or errors:
        return 1
    print(f"docs: {len(list((arguments.out / 'html').rglob('*.html')))} pages in {arguments.out}/html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
