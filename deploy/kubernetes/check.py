"""Lints the chart, renders it over a matrix of values, and validates every object strictly against Kubernetes' schemas.

Needs helm-python-sdk and kubernetes-validate; `cargo xtask test` brings both. With --write it renders base/ anew.
"""

import itertools
import json
import pathlib
import re
import shutil
import sys
import tempfile

import helm_python as helm
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
# A copy with the linked rules and dashboards in place, as a packaged chart has them; Helm speaks of every link.
CHART = pathlib.Path(shutil.copytree(HERE / "chart", pathlib.Path(tempfile.mkdtemp()) / "netqueue"))
BASE = HERE / "base" / "netqueue.yaml"
# The oldest that Chart.yaml promises and the validator knows, and its newest.
VERSIONS = ("1.25", kubernetes_validate.latest_version())

# One list for each thing a user may choose; every combination is rendered.
CHOICES = {
    "features": [
        {},
        {"features": {"owners": False, "namespaces": False}},
        {"features": {"owners": True, "namespaces": False}},
    ],
    "web": [{}, {"webConfig": {"existingSecret": "netqueue-web"}}],
    "monitoring": [
        {},
        {
            "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "runbookUrl": "https://wiki.example.org/netqueue/"},
            "dashboards": {"enabled": True, "annotations": {"folder": "netqueue"}},
        },
    ],
    "network": [
        {},
        {"networkPolicy": {"enabled": True}},
        {"networkPolicy": {"enabled": True, "from": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]}},
    ],
    "pod": [
        {},
        {
            "image": {"repository": "registry.example.org/netqueue", "digest": "sha256:" + "0" * 64},
            "imagePullSecrets": [{"name": "pull"}],
            "serviceAccount": {"create": False, "name": "other"},
            "extraArgs": ["--max-series=5000"],
            "podLabels": {"team": "network"},
            "podAnnotations": {"a": "b"},
            "priorityClassName": "",
            "tolerations": [],
            "affinity": {"nodeAffinity": {}},
        },
    ],
}

# What a user may get wrong, and the value the refusal must name.
MISTAKES = [
    ({"port": 80}, "port"),
    ({"image": {"repository": "x", "digest": "latest"}}, "digest"),
    ({"featurez": {}}, "featurez"),
    ({"features": {"owners": "yes"}}, "owners"),
    ({"podMonitor": {"interval": "often"}}, "interval"),
]

passed = failed = 0


def judge(what, complaint):
    """Counts one check."""
    global passed, failed
    if complaint:
        failed += 1
        print(f"FAILED  {what}: {complaint}")
    else:
        passed += 1


def render(chart, values):
    """Every object the chart makes of the values, in a stable order."""
    files = chart.render(values, name="netqueue", namespace="monitoring")
    texts = [text for path, text in sorted(files.items()) if not path.endswith("NOTES.txt")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def complaint_about(document):
    """What is wrong with one object, or nothing."""
    if document["apiVersion"].startswith("monitoring.coreos.com/"):
        return None if document["spec"] else "no spec"
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            return f"{document['kind']} for {version}: {error}"
    return None


def privileges(document):
    """What the pods must never have."""
    if document["kind"] != "DaemonSet":
        return None
    pod = document["spec"]["template"]["spec"]
    if any(pod.get(key) for key in ("hostNetwork", "hostIPC")):
        return "the pod shares more of the host than its processes"
    for container in pod["containers"]:
        context = container["securityContext"]
        if context["privileged"] or context["allowPrivilegeEscalation"] or not context["readOnlyRootFilesystem"]:
            return "the container is more privileged than it need be"
        if context["capabilities"]["drop"] != ["ALL"]:
            return "capabilities are not dropped"
        if any(not mount.get("readOnly") for mount in container["volumeMounts"]):
            return "a mount can be written to"
    return None


def merged(parts):
    """Several choices as one set of values; they name different keys."""
    return {key: value for part in parts for key, value in part.items()}


def plain(documents):
    """The same objects without what only Helm needs."""
    def strip(labels):
        return {key: value for key, value in labels.items() if "helm" not in key.lower() and value != "Helm"}

    for document in documents:
        document["metadata"]["labels"] = strip(document["metadata"]["labels"])
        document["metadata"].pop("namespace")
        template = document.get("spec", {}).get("template")
        if template:
            template["metadata"]["labels"] = strip(template["metadata"]["labels"])
    header = "# Rendered from the chart with its default values by `check.py --write`.\n"
    return header + yaml.safe_dump_all(documents, sort_keys=False)


def main():
    chart = helm.Chart.load(str(CHART))
    base = plain(render(chart, {}))
    if "--write" in sys.argv:
        BASE.write_text(base)
    judge("base/netqueue.yaml", None if BASE.read_text() == base else "differs from the chart: run check.py --write")

    for name, combination in enumerate(itertools.product(*CHOICES.values())):
        values = merged(combination)
        report = helm.lint(str(CHART), values, strict=True)
        bad = [message["error"] for message in report["messages"] if message["severity"] >= 2] + report["errors"]
        judge(f"lint {json.dumps(values)}", "; ".join(bad))
        documents = render(chart, values)
        complaints = [c for d in documents for c in (complaint_about(d), privileges(d)) if c]
        kinds = [d["kind"] for d in documents]
        if kinds.count("DaemonSet") != 1:
            complaints.append(f"one DaemonSet is expected among {kinds}")
        judge(f"render {json.dumps(values)}", "; ".join(complaints))

    for values, named in MISTAKES:
        try:
            chart.validate_schema(values)
            judge(f"refuse {values}", "it was accepted")
        except helm.HelmError as error:
            judge(f"refuse {values}", None if named in str(error) else f"the refusal names no {named}: {error}")

    rules = merged(CHOICES["monitoring"][1:])
    for document in render(chart, rules):
        if document["kind"] == "PrometheusRule":
            source = yaml.safe_load((CHART / "files" / "netqueue.rules.yml").read_text())
            judge("rules", None if len(document["spec"]["groups"]) == len(source["groups"]) else "groups are missing")
            links = re.findall(r"runbook_url'?:? *'?\"?(\S+)", yaml.safe_dump(document))
            bad = [link for link in links if not link.startswith("https://")]
            judge("runbook links", f"{bad}" if bad or not links else None)
        if document["kind"] == "ConfigMap":
            boards = [json.loads(text)["uid"] for text in document["data"].values()]
            judge("dashboards", None if len(boards) == 3 else f"only {boards}")

    shutil.rmtree(CHART.parent)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
