#!/usr/bin/env python3
"""The part of deploy-check.sh that reads files: deploy-check.py RENDERED.yaml TOOLS."""

import itertools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import hcl2
import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = "1.30"
DEPLOY = Path("deploy")
rendered, tools = Path(sys.argv[1]), Path(sys.argv[2])
problems = []


def expect(condition, problem):
    if not condition:
        problems.append(problem)


def closed(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


# SpinKube's kinds, as far as they are used here. A field that is missing here is a typo, or new here.
TEXT, COUNT, FLAG, ANY = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}, {}
KEY = closed(["name", "key"], name=TEXT, key=TEXT)
VARIABLE = closed(["name"], name={"pattern": "^[a-z][a-z0-9_]*$"}, value=TEXT, valueFrom=closed(secretKeyRef=KEY, configMapKeyRef=KEY))
PROBE = closed(
    ["httpGet"],
    httpGet=closed(["path"], path={"pattern": "^/"}),
    **dict.fromkeys(["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"], COUNT),
)
AMOUNTS = {"type": "object", "additionalProperties": {"type": "string"}}
SPINKUBE = {
    "SpinApp": closed(
        ["executor", "image"],
        executor=TEXT, image=TEXT, replicas=COUNT, enableAutoscaling=FLAG, serviceAccountName=TEXT,
        runtimeConfig=closed(loadFromSecret=TEXT),
        variables={"type": "array", "items": VARIABLE},
        checks=closed(liveness=PROBE, readiness=PROBE),
        resources=closed(requests=AMOUNTS, limits=AMOUNTS),
        podAnnotations=AMOUNTS, podLabels=AMOUNTS, imagePullSecrets=ANY, volumes=ANY, volumeMounts=ANY,
    ) | {"not": {"required": ["replicas"], "properties": {"enableAutoscaling": {"const": True}}}},
    "SpinAppExecutor": closed(
        ["createDeployment"],
        createDeployment=FLAG,
        deploymentConfig=closed(runtimeClassName=TEXT, spinImage=TEXT, installDefaultCACerts=FLAG, caCertSecret=TEXT)
        | {"oneOf": [{"required": ["runtimeClassName"]}, {"required": ["spinImage"]}]},
    ),
}  # fmt: skip


def kubernetes():
    manifest = tomllib.loads(Path("spin.toml").read_text())
    files = [rendered]
    objects = [o for file in files for o in yaml.safe_load_all(file.read_text()) if o]
    for o in objects:
        name = f"{o['kind']} {o['metadata']['name']}"
        try:
            if o["kind"] in SPINKUBE:
                jsonschema.validate(o["spec"], SPINKUBE[o["kind"]])
            else:
                kubernetes_validate.validate(o, KUBERNETES, strict=True)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            problems.append(f"{name}: {error.message}")
        for variable in o["spec"].get("variables", []):
            expect(variable["name"] in manifest["variables"], f"{name}: spin.toml has no variable {variable['name']}")
            if variable["name"] == "pubsub_retention_days":
                seconds = re.findall(r'message_retention_duration = +"(\d+)s"', (DEPLOY / "terraform/main.tf").read_text())
                longest = max(map(int, seconds)) // 86400
                expect(variable["value"] == str(longest), f"{name}: Pub/Sub keeps events for {longest} days")
    print(f"{len(objects)} Kubernetes objects valid against {KUBERNETES}")
    tomllib.loads((DEPLOY / "spinkube/runtime-config.example.toml").read_text())


def terraform():
    blocks = {}
    for file in sorted((DEPLOY / "terraform").glob("*.tf")):
        for kind, found in hcl2.loads(file.read_text()).items():
            blocks.setdefault(kind, []).extend(found)
    text = "".join(file.read_text() for file in (DEPLOY / "terraform").glob("*.tf"))
    declared = {name.strip('"') for block in blocks["variable"] for name in block}
    used = set(re.findall(r"\bvar\.(\w+)", text))
    expect(declared == used, f"terraform: declared or used alone: {declared ^ used}")
    resources = {f"{kind}.{name}".replace('"', "") for block in blocks["resource"] for kind, body in block.items() for name in body}
    for reference in re.findall(r"(?<![.\w])(google_\w+\.\w+)\.", text):
        expect(reference in resources or f"data.{reference}" in text, f"terraform: no {reference}")
    print(f"{len(resources)} Terraform resources parsed")


def dashboard():
    board = json.loads((DEPLOY / "dashboard.json").read_text())
    panels = board["panels"]
    expect(len({p["id"] for p in panels}) == len(panels), "dashboard: an id twice")
    for a, b in itertools.combinations(panels, 2):
        a, b, titles = a["gridPos"], b["gridPos"], f"{a['title']}, {b['title']}"
        apart = any(a[x] + a[w] <= b[x] or b[x] + b[w] <= a[x] for x, w in (("x", "w"), ("y", "h")))
        expect(apart, f"dashboard: {titles} lie on each other")
    queries = [(p["datasource"]["type"], t["expr"]) for p in panels for t in p["targets"]]
    rules = [
        {"record": f"panel:query{n}", "expr": query.replace("$__rate_interval", "5m")}
        for n, (kind, query) in enumerate(queries)
        if kind == "prometheus"
    ]
    groups = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tools / "dashboard.rules.yaml").write_text(yaml.safe_dump(groups))
    return [query for kind, query in queries if kind == "loki"]


def anchors(markdown):
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", markdown, flags=re.S), flags=re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def documents():
    logql = []
    for file in sorted(DEPLOY.glob("*.md")):
        text = file.read_text()
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            linked = file.parent / path if path else file
            expect(linked.exists(), f"{file}: {target} is not there")
            if anchor and linked.exists():
                expect(anchor in anchors(linked.read_text()), f"{file}: {target} has no such section")
        for indent, language, code in re.findall(r"^( *)```(\w+)\n(.*?)^ *```$", text, flags=re.M | re.S):
            if language == "sh":
                shell = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True)
                expect(shell.returncode == 0, f"{file}: {shell.stderr}")
            elif language == "logql":
                logql.append(code)
            elif language == "yaml":
                (tools / "scrape.yaml").write_text(code)
    return logql


def alerts():
    sections = anchors((DEPLOY / "runbook.md").read_text())
    logql = []
    for name in ("alerts.yaml", "alerts.loki.yaml"):
        for group in yaml.safe_load((DEPLOY / name).read_text())["groups"]:
            for rule in group["rules"]:
                where = f"{name}: {rule['alert']}"
                expect(rule["labels"]["severity"] in ("page", "ticket"), f"{where}: no such severity")
                expect("summary" in rule["annotations"], f"{where}: no summary")
                # The label is one of the gate's reasons.
                url = re.sub(r"\{\{.*?\}\}", "svix-unavailable", rule["annotations"]["runbook_url"])
                expect(url.removeprefix("runbook.md#") in sections, f"{where}: no section {url}")
                if name == "alerts.loki.yaml":
                    logql.append(rule["expr"])
    # Whatever the relay can answer to a notification has its place in the alerts.
    known = (DEPLOY / "alerts.yaml").read_text()
    contract = Path("src/api/openapi.json").read_text()
    table = set(re.findall(r"urn:svix-relay:problem:([a-z0-9-]+)", contract))
    elsewhere = {"no-record", "no-dead-letter", "unauthorized", "invalid-query",
                 "invalid-request", "no-application"}
    for outcome in table - elsewhere:
        expect(re.search(rf"[\"|]{outcome}[\"|]", known), f"alerts.yaml doesn't know {outcome}")
    expect(len(table) > 20, "src/api/openapi.json names too few problems")
    return logql


kubernetes()
terraform()
queries = dashboard() + documents() + alerts()
(tools / "logql.json").write_text(json.dumps(queries))
for problem in problems:
    print(f"deploy-check: {problem}", file=sys.stderr)
sys.exit(bool(problems))
