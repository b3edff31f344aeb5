#!/usr/bin/env python3
"""Checks the modules of deploy/terraform without Google's provider: terraform-check.py [TYPES].

TYPES is the folder `lib` of the npm package @cdktf/provider-google. It has the arguments of every resource as
TypeScript, generated from the provider's schema: their names, whether they are required, and the blocks.
Terraform itself checks more: types of values, references between modules, conflicts of arguments.
"""

import re
import sys
from pathlib import Path

import hcl2

ROOT = Path("deploy/terraform")
TYPES = Path(sys.argv[1]) if len(sys.argv) > 1 else None
META = {"count", "for_each", "depends_on", "lifecycle", "provider", "timeouts"}
problems = []


def expect(condition, problem):
    if not condition:
        problems.append(problem)


def camel(name):
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def unquoted(name):
    return name.strip('"')


class Type:
    """What a resource or a data source takes and gives."""

    def __init__(self, kind, is_data):
        name = kind.removeprefix("google_").replace("_", "-")
        self.text = (TYPES / f"{'data-google-' if is_data else ''}{name}/index.d.ts").read_text()
        self.interfaces = {}
        for name, body in re.findall(r"^export interface (\w+)[^{\n]*\{\n(.*?)^\}", self.text, flags=re.M | re.S):
            fields = re.findall(r"#(\w+) \w+#\w+\}(?:(?!\*/).)*?\*/\s+readonly \w+(\??): ([^;]+);", body, flags=re.S)
            self.interfaces[name] = {field: (optional == "", of) for field, optional, of in fields}
        self.top = next(name for name in self.interfaces if name.endswith("Config"))

    def check(self, where, body, interface=None):
        fields = self.interfaces[interface or self.top]
        given = {key: value for key, value in body.items() if not key.startswith("__")}
        for block in given.pop("dynamic", []):
            for name, dynamic in block.items():
                given.setdefault(unquoted(name), []).extend(dynamic["content"])
        for name, value in given.items():
            if interface is None and name in META:
                continue
            expect(name in fields, f"{where}: there is no argument {name}")
            if name not in fields:
                continue
            below = re.sub(r"\[\]| \| cdktf\.IResolvable", "", fields[name][1])
            is_block = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
            if below in self.interfaces and is_block:
                for item in value:
                    self.check(f"{where}.{name}", item, below)
        for name, (is_required, _) in fields.items():
            expect(name in given or not is_required, f"{where}: {name} is required")

    def gives(self, attribute):
        return f"get {camel(attribute)}(" in self.text


def module(folder):
    blocks, text = {}, ""
    for file in sorted(folder.glob("*.tf")):
        # Without comments, since they name things in words.
        text += re.sub(r"^\s*#.*$", "", file.read_text(), flags=re.M)
        for kind, found in hcl2.loads(file.read_text()).items():
            blocks.setdefault(kind, []).extend(found)
    return blocks, text


def named(blocks, kind):
    return {unquoted(name): body for block in blocks.get(kind, []) for name, body in block.items()}


modules = {folder: module(folder) for folder in sorted({file.parent for file in ROOT.rglob("*.tf")})}
resources = 0
for folder, (blocks, text) in modules.items():
    where = str(folder.relative_to(ROOT))
    variables = named(blocks, "variable")
    used = set(re.findall(r"\bvar\.(\w+)", text))
    expect(set(variables) == used, f"{where}: declared or used alone: {set(variables) ^ used}")
    for name, body in variables.items():
        expect("description" in body, f"{where}: the variable {name} has no description")
    locals_ = {name for block in blocks.get("locals", []) for name in block if not name.startswith("__")}
    used = set(re.findall(r"\blocal\.(\w+)", text))
    expect(locals_ == used, f"{where}: locals declared or used alone: {locals_ ^ used}")

    declared = {}
    for kind, prefix in (("resource", ""), ("data", "data.")):
        for block in blocks.get(kind, []):
            for type_, bodies in block.items():
                for name, body in bodies.items():
                    resources += 1
                    type_, name = unquoted(type_), unquoted(name)
                    declared[f"{prefix}{type_}.{name}"] = type_, bool(prefix)
                    if TYPES:
                        Type(type_, bool(prefix)).check(f"{where}: {type_}.{name}", body)
    for prefix, type_, name, attribute in re.findall(
        r"(?<![\w.\"/])(data\.)?(google_\w+)\.(\w+)(?:\[[^\]]*\])?(?:\.(\w+))?", text
    ):
        reference = f"{prefix}{type_}.{name}"
        expect(reference in declared, f"{where}: there is no {reference}")
        if TYPES and attribute and reference in declared:
            expect(Type(type_, bool(prefix)).gives(attribute), f"{where}: {reference} has no attribute {attribute}")

    for name, body in named(blocks, "module").items():
        called, _ = modules[(folder / unquoted(body["source"])).resolve().relative_to(Path.cwd())]
        takes = named(called, "variable")
        given = {key for key in body if not key.startswith("__")} - {"source"}
        expect(given <= set(takes), f"{where}: module.{name} takes no {given - set(takes)}")
        missing = {key for key, value in takes.items() if "default" not in value} - given
        expect(not missing, f"{where}: module.{name} needs {missing}")
        outputs = set(re.findall(rf"\bmodule\.{name}\.(\w+)", text))
        expect(outputs <= set(named(called, "output")), f"{where}: module.{name} gives no {outputs}")

for problem in problems:
    print(f"terraform-check: {problem}", file=sys.stderr)
arguments = "and their arguments checked" if TYPES else "parsed"
print(f"{len(modules)} Terraform modules, {resources} resources {arguments}")
sys.exit(bool(problems))
