#!/usr/bin/env python3
"""Checks the words of comments and documents: roles instead of ghosts such as "somebody", a subject at
the beginning of a comment, and at most 35 words in a sentence (25 is the goal). Prints each violation;
the exit status is 1 if there is one."""

import re
import subprocess
import sys
from pathlib import Path

LONGEST = 35
# The notes follow rules of their own; the others are text of other authors.
EXEMPT = re.compile(r"NOTES\.md|CHALLENGE\.md|LICENSE|scripts/words\.py|wit/deps/|.*\.(lock|txt|png)$")
MARKS = {".rs": r"//[/!]?", ".js": "//", ".wit": "//[/!]?", ".md": "", ".json": None, ".html": None, ".css": None}
GHOST = re.compile(r"(?<![a-z])(somebody|nobody|whoever|any(body|one)|someone|every(body|one))(?![a-z])", re.I)
LEAD = re.compile(r"(It|What|Who|Whoever|That)\s")
# List items, headings and rows of a table begin a text of their own.
ITEM = re.compile(r"\s*([-*|#>]|\d+\.)")


def texts(lines, mark):
    """Each paragraph of comments, or of a document if `mark` is empty: the number of its first line,
    its text, and whether a comment begins with it."""
    number, text, begins, inside, fenced = 0, "", False, False, False
    for at, line in enumerate([*lines, ""], 1):
        comment = re.match(rf"\s*{mark}(\s.*|)$", line) if mark else re.match("(.*)", line)
        words = comment[1].strip() if comment else ""
        fence = words.startswith("```")
        fenced = bool(comment) and fenced != fence
        if fence or fenced or not words or ITEM.match(words) or not inside:
            if text:
                yield number, text, begins
            number, text, begins = at, "", bool(mark) and not inside
        if not fence and not fenced:
            text = f"{text} {words}".strip()
        inside = bool(comment)


def violations(path):
    lines = path.read_text().splitlines()
    for at, line in enumerate(lines, 1):
        if ghost := GHOST.search(line):
            yield at, f"name the role instead of `{ghost[0]}`"
    mark = MARKS.get(path.suffix, "#")
    for at, text, begins in texts(lines, mark) if mark is not None else ():
        if begins and (lead := LEAD.match(text)):
            yield at, f"name the subject: the comment begins with `{lead[1]}`"
        for sentence in re.split(r"[.!?]\s|\s\|\s", re.sub(r"`[^`]*`|\]\([^)]*\)", "`", text)):
            if (length := len(sentence.split())) > LONGEST:
                yield at, f"{length} words in a sentence: {sentence[:50]}…"


tracked = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
names = [name for name in tracked.rstrip("\0").split("\0") if not EXEMPT.match(name) and Path(name).is_file()]
found = [f"{name}:{at}: {problem}" for name in names for at, problem in violations(Path(name))]
for problem in found:
    print(f"words: {problem}", file=sys.stderr)
print(f"words: {len(names)} files")
sys.exit(bool(found))
