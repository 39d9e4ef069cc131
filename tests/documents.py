"""Markdown files as tests read them: their blocks of code, links and tables."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FENCED = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code: its language, what else stands behind the fence, its lines, and where."""

    language: str
    needs: str
    code: str
    section: str


def blocks(path: Path, language: str) -> list[Block]:
    """List the blocks of a language, each with the number and title of the section it is in."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCED.finditer(text):
        if match[1] == language:
            titles = re.findall(r"^## (.*)$", text[: match.start()], re.MULTILINE)
            section = titles[-1] if titles else ""
            found.append(Block(language, match[2].strip(), match[3], section))
    return found


def prose(path: Path) -> str:
    """Return a file without its blocks of code."""
    return FENCED.sub("", path.read_text(encoding="utf-8"))


def rows(path: Path) -> list[list[str]]:
    """List the rows of all tables of a file, cell by cell, heads and rules included."""
    lines = [line for line in prose(path).splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for line in lines
    ]
