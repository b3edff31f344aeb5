#!/usr/bin/env bash
# Checks deploy/ as far as a machine without a cluster, a registry and a Google project can. Checks the
# links and shell commands of all documents, too.
#
# Needs python3. Installs its Python packages, and promtool from Debian's prometheus, below target/ if they
# are missing. kubectl, terraform and npm are optional: the script prints which checks it skips without
# them.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly tools=$PWD/target/deploy-check
mkdir -p "$tools"
readonly python=$tools/venv/bin/python3
export PATH=$tools/prometheus/usr/bin:$PATH

# Make every check and print every finding before the failure.
status=0
check() { "$@" || status=1; }
skip() { echo "deploy-check: NOT checking $1" >&2; }

if [[ ! -e $tools/venv/done ]]; then
  python3 -m venv "$tools/venv"
  "$python" -m pip install --quiet --disable-pip-version-check 'kubernetes-validate~=1.35' 'jsonschema~=4.23' \
    'python-hcl2~=7.0' 'yamllint~=1.37'
  touch "$tools/venv/done"
fi

if ! command -v promtool >/dev/null && command -v apt-get >/dev/null; then
  (cd "$tools" && apt-get download -qq prometheus >/dev/null 2>&1 &&
    dpkg-deb -x prometheus_*.deb prometheus) || true
fi

if [[ ! -e $tools/node_modules/@grafana/lezer-logql ]] && command -v npm >/dev/null; then
  npm install --silent --no-save --prefix "$tools" @grafana/lezer-logql@0.4.2 @lezer/lr@1 || true
fi

check "$python" -m yamllint --strict --config-data '{extends: default, rules: {line-length: disable, document-start: disable,
  comments-indentation: disable, braces: {max-spaces-inside: 0}}}' deploy

rendered=$tools/rendered.yaml
if command -v kubectl >/dev/null; then
  kubectl kustomize deploy/spinkube >"$rendered"
else
  skip 'how kustomize renders: there is no kubectl'
  sed -n 's/^  - \([a-z-]*\.yaml\)$/\1/p' deploy/spinkube/kustomization.yaml | while read -r file; do
    printf -- '---\n'
    cat "deploy/spinkube/$file"
  done >"$rendered"
fi

# Kubernetes, the dashboard, the documents, and the series that alerts look at. Writes
# down the queries and the tests that it found.
check "$python" scripts/deploy-check.py "$rendered" "$tools"

# Every argument's name, generated from Google's provider 6.50. The package has 31 MB, so unpack only what
# deploy/terraform uses.
readonly types=$tools/provider-google
if command -v npm >/dev/null; then
  [[ -e $types.tgz ]] || (cd "$tools" &&
    mv "$(npm pack --silent @cdktf/provider-google@16.12.1)" "$types.tgz") || true
fi
if [[ -e $types.tgz ]]; then
  mkdir -p "$types"
  grep -rhoE '^(resource|data) "google_\w+"' deploy/terraform | sort -u |
    sed -E 's/^resource "google_/package\/lib\//; s/^data "google_/package\/lib\/data-google-/; s/_/-/g; s/"$/\/index.d.ts/' |
    tar --extract --gzip --file "$types.tgz" --directory "$types" --files-from -
  check "$python" scripts/terraform-check.py "$types/package/lib"
else
  skip "the arguments of Google's provider: there is no npm"
  check "$python" scripts/terraform-check.py
fi
if command -v terraform >/dev/null; then
  check terraform -chdir=deploy/terraform fmt -recursive -check -diff
else
  skip "terraform's formatting: there is no terraform"
fi

if command -v promtool >/dev/null; then
  check promtool check rules deploy/alerts.yaml "$tools/dashboard.rules.yaml"
  check promtool test rules "$tools/alerts.test.yaml"
  check promtool check config --syntax-only "$tools/scrape.yaml"
else
  skip 'PromQL: there is no promtool'
fi

if [[ -e $tools/node_modules/@grafana/lezer-logql ]]; then
  check node --input-type=module - "$tools" <<'EOF'
import { createRequire } from "node:module";
const [tools] = process.argv.slice(2);
const require = createRequire(`${tools}/node_modules/`);
const { parser } = require("@grafana/lezer-logql");
const queries = require(`${tools}/logql.json`);
for (const query of queries) {
  parser.parse(query).iterate({
    enter(node) {
      if (!node.type.isError) return;
      console.error(`deploy-check: at ${node.from}: ${query}`);
      process.exitCode = 1;
    },
  });
}
console.log(`${queries.length} LogQL queries parsed`);
EOF
else
  skip 'LogQL: there is no npm'
fi

exit "$status"
