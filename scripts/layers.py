#!/usr/bin/env python3
"""Checks how the component's source is built: imports run downwards and never in a circle, and the
files that decide never wait. Prints each violation; the exit status is 1 if there is one."""

import re
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src"

# From the ground up. Rooms of one line know nothing of each other.
LEVELS = [
    "host json time identifier digest violation",
    "event",
    "config",
    "svix records",
    "letters auth",
    "api",
    "watch",
    "delivery exchange",
    "intake conversation",
    "operator lookup health reports",
    "relay",
    "lib",
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms.split()}

# These may wait, and call the host. All other files decide.
WAITING = re.compile(
    r"(host/|config/load|svix/client|records/(storage|journal|endpoints)|letters/(ledger|waiting)|auth/(mod|keys)"
    r"|watch/(mod|counters)|delivery/(mod|job|attempts|shared_gate|turnstile)|intake/|conversation|operator/|exchange|lookup|health|reports|relay|lib)"
)
# Forbidden in a deciding file. `host::Error`, `Unread`, `Reply` and `host::origin` are plain types.
DOING = re.compile(r"\basync\b|\.await\b|wasip3|host::(?!Error|http::Unread|http::Reply|origin)\w")


def modules():
    """Each file's path within src/, its module, and its text without comments and tests."""
    for path in sorted(SRC.rglob("*.rs")):
        text = path.read_text().split("#[cfg(test)]\nmod tests")[0].split("#[cfg(test)]\npub mod tests")[0]
        text = re.sub(r"//.*", "", text)
        name = path.relative_to(SRC).with_suffix("").as_posix()
        yield name, name.removesuffix("/mod"), text


def imports(module, text, known):
    """The modules that a module names."""
    text = re.sub(r"\bsuper::", lambda _: "crate::" + "".join(f"{p}::" for p in parent(module)), text)
    text = re.sub(r"\bself::", lambda _: "crate::" + module.replace("/", "::") + "::", text)
    for path in expanded(text):
        found = "/".join(path)
        while found and found not in known:
            found = found.rpartition("/")[0]
        if found and found != module:
            yield found


def parent(module):
    return module.split("/")[:-1] if "/" in module else []


def expanded(text):
    """Every path that begins with `crate::`, with the braces of a `use` taken apart."""
    for match in re.finditer(r"\bcrate::((?:\w+::)*)(\w+|\{)", text):
        base = [part for part in match[1].split("::") if part]
        if match[2] != "{":
            yield base + [match[2]]
            continue
        inner = text[match.end() : text.index(";", match.end())]
        for name in re.findall(r"\w+", inner):
            yield base + [name]


def circle(graph):
    """A circle of modules, if there is one."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return path[path.index(module) :] + [module]
        if module in done:
            return None
        path.append(module)
        for other in sorted(graph.get(module, ())):
            if found := visit(other):
                return found
        done.add(path.pop())
        return None

    return next((found for module in sorted(graph) if (found := visit(module))), None)


files = list(modules())
known = {module for _, module, _ in files}
graph, problems = {}, []
for file, module, text in files:
    graph[module] = set(imports(module, text, known))
    room = module.split("/")[0]
    for other in sorted(graph[module]):
        there = other.split("/")[0]
        if there != room and LEVEL[there] >= LEVEL[room]:
            problems.append(f"src/{file}.rs imports {other}, which is not below {room}")
    if not WAITING.match(file) and (doing := DOING.search(text)):
        problems.append(f"src/{file}.rs decides, but holds `{doing[0]}`")
if found := circle(graph):
    problems.append("imports in a circle: " + " -> ".join(found))
for problem in problems:
    print(f"layers: {problem}", file=sys.stderr)
edges = sum(len(others) for others in graph.values())
print(f"layers: {len(files)} files, {len(LEVELS)} levels, {edges} imports")
sys.exit(bool(problems))
