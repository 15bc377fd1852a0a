"""The API reference from the public headers: a page for each, as scripts/docs/site.py asks for them.

A page has the header's opening comment, with its usage example, and below it every declaration with its comments.
Private parts of classes and the bodies of inline functions are left out.
"""

import re
from pathlib import Path

FOLDERS = {"core": "Tensors and operations", "layers": "Layers and networks", "optim": "Optimisers and risks",
           "data": "Data sets and loading"}
FILLED = re.compile(r"[*_<\[\]`]")


def public_headers(root, folder):
    """The headers that are installed: all beside the sources, but for those the folder's CMakeLists.txt calls private."""
    lists = (root / folder / "CMakeLists.txt").read_text()
    private = re.search(r"PRIVATE_HEADERS([^)]*)", lists)
    names = set(private[1].split()) if private else set()
    return [path for path in sorted((root / folder).glob("*.h")) if path.name not in names]


def prose(lines):
    """Comment lines without their slashes → Markdown: what is indented is code, names of pages are links."""
    out, code = [], False
    for line in [*lines, ""]:
        indented = line.startswith("  ")
        if indented and not code:
            out += ["", "```cpp"]
        if code and not indented:
            if line:
                out += ["```", ""]
            elif line == "":
                out += ["```"]
        code = indented
        text = line[2:] if indented else FILLED.sub(lambda m: "\\" + m[0], line.strip())
        out.append(text if indented else re.sub(r"docs/([\w-]+\.md)", r"[\1](../../\1)", text))
    return "\n".join(out).strip() + "\n"


def comment(line):
    """What follows // or /// in a line that is nothing else, or None."""
    found = re.match(r"\s*///?<? ?(.*)$", line)
    return found[1] if found else None


def without_bodies(lines):
    """Drops private sections, and gives inline functions a semicolon in place of their bodies."""
    out, depth, private, skip = [], 0, None, None
    for line in lines:
        code = re.sub(r"//.*", "", line)
        opens, closes = code.count("{"), code.count("}")
        access = re.match(r"\s*(public|protected|private):", code)
        if access and skip is None:
            private = depth if access[1] == "private" else None
        if private is not None and depth + opens - closes < private:
            private = None
            while out and not out[-1].strip():
                out.pop()
        if skip is not None:
            depth += opens - closes
            if depth <= skip:
                skip = None
            continue
        if private is None:
            function = re.match(r"(.*\)(?: const)?(?: override)?(?: noexcept)?)(?:\s*:\s.*)?\s*\{", code)
            if function and opens > closes and not re.match(r"\s*(struct|class|enum|namespace)\b", code):
                out.append(function[1] + ";")
                skip = depth
            elif function and opens == closes and re.search(r"\{.*\}\s*$", code) and "(" in code:
                out.append(function[1] + ";" + line[len(code):])
            else:
                out.append(line)
        elif access:
            pass
        depth += opens - closes
    return out


def chunks(lines):
    """Groups of lines between blank ones, outside of all braces but those of the namespace."""
    group, depth = [], 0
    for line in [*lines, ""]:
        if not line.strip() and depth == 0:
            if group:
                yield group
            group = []
            continue
        code = re.sub(r"//.*", "", line)
        depth += code.count("{") - code.count("}") + code.count("(") - code.count(")")
        group.append(line)


def title_of(code):
    """What a chunk declares: one name, or up to three."""
    text = re.sub(r"//[^\n]*", "", "\n".join(code))
    types = re.findall(r"^(?:template <[^\n]*>\n)?(?:struct|class|enum class|enum)\s+(\w+)[^;\n]*\{", text, re.M)
    types += re.findall(r"^using (\w+) =", text, re.M)
    functions = re.findall(r"^[\w:<>,&* ~]*?\b(operator[^\s(]+|\w+)\(", text, re.M)
    names = list(dict.fromkeys(types or functions or re.findall(r"\b(k\w+)\b\s*=", text)))
    return ", ".join(f"`{name}`" for name in names) if 0 < len(names) <= 3 else ""


def page(path, include):
    """One header as Markdown."""
    lines = path.read_text().splitlines()
    body = lines.index("namespace fulcrum {") if "namespace fulcrum {" in lines else len(lines)
    opening = []
    for line in lines:
        if comment(line) is None:
            break
        opening.append(comment(line))
    out = [f"# {include}", "", f"`#include <fulcrum/{include}>`{{ .include }}", "", prose(opening)]
    end = len(lines) - 1 - lines[::-1].index("}  // namespace fulcrum") if "}  // namespace fulcrum" in lines else len(lines)
    for chunk in chunks(without_bodies(lines[body + 1:end])):
        section = re.match(r"// ---- (.*?) -*$", chunk[0])
        if section:
            out += [f"## {section[1].strip()}", ""]
            chunk = chunk[1:]
        lead = []
        while chunk and comment(chunk[0]) is not None and chunk[0].startswith("//"):
            lead.append(comment(chunk.pop(0)))
        if not chunk or re.match(r"(#|namespace |extern|\}|(class|struct) \w+;$)", chunk[0]):
            continue
        several = sum(1 for line in chunk if line and line[0] not in " }/") > 1 and not re.match(
            r"(template|struct|class|enum)", chunk[0])
        if several:
            chunk, lead = [*(f"/// {line}" for line in lead), *chunk], []
        title = title_of(chunk)
        out += [f"### {title}", ""] if title else []
        out += [prose(lead)] if lead else []
        out += ["```cpp", *chunk, "```", ""]
    return "\n".join(out)


def write(root, out):
    """Writes the pages to the folder `out`; returns the part of the navigation that names them."""
    nav = ["  - API:", "      - Overview: api/index.md"]
    overview = ["# API reference", "", "Made from the public headers; each opens with its purpose and an example. "
                "Everything is in the namespace `fulcrum`.", ""]
    for folder, purpose in FOLDERS.items():
        (out / folder).mkdir(parents=True)
        nav.append(f"      - {folder}:")
        overview += [f"## {folder}: {purpose}", "", "| header | |", "|---|---|"]
        for header in public_headers(root, folder):
            name = f"{folder}/{header.name}"
            target = f"{folder}/{header.stem}.md"
            (out / target).write_text(page(header, name))
            nav.append(f"          - {header.name}: api/{target}")
            first = comment(header.read_text().splitlines()[0]) or ""
            overview.append(f"| [{header.name}]({target}) | {FILLED.sub(lambda m: chr(92) + m[0], first)} |")
        overview.append("")
    (out / "index.md").write_text("\n".join(overview))
    return "\n".join(nav) + "\n"
