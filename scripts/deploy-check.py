#!/usr/bin/env python3
"""The part of deploy-check.sh that reads files: deploy-check.py RENDERED.yaml TOOLS."""

import itertools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

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


# The kinds that Kubernetes itself doesn't have, as far as they are used here. A field that is missing here is a
# typo, or new here.
TEXT, COUNT, FLAG, ANY = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}, {}
KEY = closed(["name", "key"], name=TEXT, key=TEXT)
VARIABLE = closed(["name"], name={"pattern": "^[a-z][a-z0-9_]*$"}, value=TEXT, valueFrom=closed(secretKeyRef=KEY, configMapKeyRef=KEY))
PROBE = closed(
    ["httpGet"],
    httpGet=closed(["path"], path={"pattern": "^/"}),
    **dict.fromkeys(["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"], COUNT),
)
AMOUNTS = {"type": "object", "additionalProperties": {"type": "string"}}
FOREIGN = {
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
    "Gateway": closed(
        ["gatewayClassName", "listeners"],
        gatewayClassName=TEXT,
        addresses={"type": "array", "items": closed(["type", "value"], type={"enum": ["IPAddress", "Hostname", "NamedAddress"]}, value=TEXT)},
        listeners={"type": "array", "minItems": 1, "items": closed(["name", "port", "protocol"], name=TEXT, hostname=TEXT, port=COUNT, protocol={"enum": ["HTTP", "HTTPS"]}, tls=ANY)},
    ),
    "HTTPRoute": closed(
        ["parentRefs", "rules"],
        parentRefs={"type": "array", "items": closed(["name"], name=TEXT)},
        hostnames={"type": "array", "items": TEXT},
        rules={"type": "array", "items": closed(
            matches={"type": "array", "items": closed(path=closed(["type", "value"], type={"enum": ["Exact", "PathPrefix"]}, value={"pattern": "^/"}))},
            backendRefs={"type": "array", "items": closed(["name", "port"], name=TEXT, port=COUNT, weight=COUNT)},
        )},
    ),
    "HealthCheckPolicy": closed(
        ["targetRef", "default"],
        targetRef=closed(["group", "kind", "name"], group=TEXT, kind=TEXT, name=TEXT),
        default=closed(["config"], config=closed(["type", "httpHealthCheck"], type={"const": "HTTP"}, httpHealthCheck=closed(requestPath={"pattern": "^/"}))),
    ),
}  # fmt: skip


def kubernetes():
    manifest = tomllib.loads(Path("spin.toml").read_text())
    files = [rendered]
    objects = [o for file in files for o in yaml.safe_load_all(file.read_text()) if o]
    for o in objects:
        name = f"{o['kind']} {o['metadata']['name']}"
        try:
            if o["kind"] in FOREIGN:
                jsonschema.validate(o["spec"], FOREIGN[o["kind"]])
            else:
                kubernetes_validate.validate(o, KUBERNETES, strict=True)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            problems.append(f"{name}: {error.message}")
        for variable in o["spec"].get("variables", []):
            expect(variable["name"] in manifest["variables"], f"{name}: spin.toml has no variable {variable['name']}")
            if variable["name"] == "pubsub_retention_days":
                longest = longest_retention()
                expect(variable["value"] == str(longest), f"{name}: Pub/Sub keeps events for {longest} days")
    print(f"{len(objects)} Kubernetes objects valid against {KUBERNETES}")
    tomllib.loads((DEPLOY / "spinkube/runtime-config.example.toml").read_text())


def cloud_run():
    manifest = tomllib.loads(Path("spin.toml").read_text())
    text = (DEPLOY / "terraform/cloud-run/main.tf").read_text()
    for name, value in re.findall(r'SPIN_VARIABLE_([A-Z_]+) *= *(".*?"|[\w.]+)', text):
        expect(name.lower() in manifest["variables"], f"cloud-run: spin.toml has no variable {name.lower()}")
        if name == "PUBSUB_RETENTION_DAYS":
            expect(value == f'"{longest_retention()}"', f"cloud-run: Pub/Sub keeps events for {longest_retention()} days")


def longest_retention():
    """The days for which a subscription keeps an event at most."""
    text = (DEPLOY / "terraform/pubsub/main.tf").read_text()
    return max(map(int, re.findall(r'message_retention_duration = +"(\d+)s"', text))) // 86400


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
    for rule in rules:
        check_query("dashboard", rule["expr"])
    for file in DEPLOY.glob("terraform/*/*.tf"):
        for query in re.findall(r"query += <<-EOT\n(.*?)\n *EOT\n", file.read_text(), flags=re.S):
            rules.append({"record": f"terraform:query{len(rules)}", "expr": re.sub(r"\$\{.*?\}", "1", query)})
    groups = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tools / "dashboard.rules.yaml").write_text(yaml.safe_dump(groups))
    return [query for kind, query in queries if kind == "loki"]


def series(text):
    """The name and the labels of a series, as text that is the same for the same series."""
    name, _, labels = text.partition("{")
    labels = re.findall(r'(\w+)="([^"]*)"', labels)
    return name, tuple(sorted((label, value) for label, value in labels if value))


# The series of a fresh store, which a test of the relay holds against GET /metrics, and those of a fresh `serve`.
FRESH = {
    series(line.rpartition(" ")[0]): line.rpartition(" ")[2]
    for name in ("fresh", "serve")
    for line in Path(f"host-tests/samples/{name}.metrics").read_text().splitlines()
    if not line.startswith("#")
}
OUTCOMES = {dict(labels)["outcome"] for name, labels in FRESH if name == "svix_relay_outcomes_total"}
# This family has no series in a fresh store: each begins with its project's first notification.
BY_PROJECT = "svix_relay_notifications_total"


def check_labels(where, name, labels):
    """Whether the relay exports such a series; a value may be a list of alternatives."""
    exported = [dict(of) for known, of in FRESH if known == name]
    if name == BY_PROJECT:
        exported = [{"outcome": outcome, "project": None} for outcome in OUTCOMES]
    expect(exported, f"{where}: the relay exports no {name}")
    for label, values in labels:
        known = {of.get(label, "") for of in exported}
        for value in values.split("|"):
            expect(None in known or value in known, f'{where}: no {name} has {label}="{value}"')


def check_query(where, query):
    for name, matchers in re.findall(r"\b(svix_relay_\w+)(?:\{([^}]*)\})?", query):
        check_labels(where, name, re.findall(r'(\w+)[=!]~?"([^"]*)"', matchers))


def alert_tests():
    """Writes the alerts' tests with every series that a fresh store exports and the test doesn't set."""
    tests = yaml.safe_load((DEPLOY / "alerts.test.yaml").read_text())
    tests["rule_files"] = [str((DEPLOY / "alerts.yaml").resolve())]
    for test in tests["tests"]:
        given = {series(of["series"]): of["values"] for of in test["input_series"]}
        for (name, labels), values in given.items():
            where, text = f"alerts.test.yaml: {test['name']}", str(values)
            if name == BY_PROJECT:
                check_labels(where, name, labels)
                expect(text.startswith("_"), f"{where}: {name} begins with a project's first notification, not at 0")
            elif name != "up":
                expect((name, labels) in FRESH, f"{where}: the relay exports no {name}{dict(labels)}")
                expect(text.startswith("0"), f"{where}: a fresh store exports {name} from 0")
        for (name, labels), value in FRESH.items():
            if (name, labels) not in given:
                labels = ",".join(f'{label}="{of}"' for label, of in labels)
                test["input_series"].append({"series": f"{name}{{{labels}}}", "values": f"{value}x400"})
    (tools / "alerts.test.yaml").write_text(yaml.safe_dump(tests))


def prose(markdown):
    return re.sub(r"^ *```.*?^ *```$", "", markdown, flags=re.M | re.S)


def anchors(markdown):
    titles = re.findall(r"^#+ (.*)$", prose(markdown), flags=re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def documents():
    logql = []
    files = sorted(file for folder in (".", "docs", "deploy") for file in Path(folder).glob("*.md"))
    links = 0
    for file in files:
        text = file.read_text()
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(text)):
            links += 1
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
    print(f"{links} links between {len(files)} documents")
    return logql


def alerts():
    sections = anchors((DEPLOY / "runbook.md").read_text())
    changes = Path("docs/metrics-and-log.md").read_text().partition("### Changes")[2]
    logged = OUTCOMES | set(re.findall(r"^\| `([\w-]+)` \|", changes, flags=re.M))
    logged |= {dict(labels)["kind"] for name, labels in FRESH if name == "svix_relay_audit_findings"}
    # The outcomes of operators' requests, and of the reports of Svix with their types as reasons.
    for file in Path("src/operator").rglob("*.rs"):
        logged |= set(re.findall(r'Success::document\("([\w-]+)"', file.read_text()))
    logged |= {"reported"} | {dict(labels)["type"] for name, labels in FRESH if name == "svix_relay_reports_total"}
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
                    for values in re.findall(r'\b(?:outcome|reason) [=!]~? "([^"]+)"', rule["expr"]):
                        unknown = set(values.split("|")) - logged
                        expect(not unknown, f"{where}: the log has no outcome {unknown}")
                    continue
                check_query(where, rule["expr"])
                expect(
                    BY_PROJECT not in rule["expr"] or f"unless present_over_time({BY_PROJECT}" in rule["expr"],
                    f"{where}: misses the first value of each new series of {BY_PROJECT}",
                )
    for file in DEPLOY.glob("terraform/*/*.tf"):
        text = file.read_text()
        for section in re.findall(r'section += "([\w-]+)"|runbook\.md#([\w-]+)"', text):
            expect("".join(section) in sections, f"{file}: no section {section}")
        for outcome in re.findall(r'"([\w-]+)"', "".join(re.findall(r"outcomes = \[(.*?)\]", text))):
            expect(outcome in logged, f"{file}: the log has no outcome {outcome}")
    alert_tests()
    # Each problem that a notification can end in has its place in the alerts.
    known = (DEPLOY / "alerts.yaml").read_text()
    contract = json.loads(Path("src/api/openapi.json").read_text())
    answers = json.dumps(contract["paths"]["/notifications"]["post"]["responses"])
    for shared in re.findall(r"#/components/responses/(\w+)", answers):
        answers += json.dumps(contract["components"]["responses"][shared])
    outcomes = set(re.findall(r"urn:svix-relay:problem:([a-z0-9-]+)", answers))
    expect(len(outcomes) > 20, "the contract has hardly a problem of notifications")
    for outcome in outcomes:
        expect(re.search(rf"[\"|]{outcome}[\"|]", known), f"alerts.yaml doesn't know {outcome}")
    return logql


kubernetes()
cloud_run()
queries = dashboard() + documents() + alerts()
(tools / "logql.json").write_text(json.dumps(queries))
for problem in problems:
    print(f"deploy-check: {problem}", file=sys.stderr)
sys.exit(bool(problems))
