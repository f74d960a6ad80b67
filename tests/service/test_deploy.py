"""The files of deploy/ fit this version: metrics, flags, settings, ports and extras that they name exist."""

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from polylens.commands.serve import app
from polylens.service.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
OBJECTS = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
FLAGS = {flag for one in typer.main.get_command(app).params for flag in (*one.opts, *one.secondary_opts)}
PROCESS = {"job", "instance", "le"}  # labels that Prometheus adds


def expressions() -> list[str]:
    """Every expression of the dashboard and of the alerts."""
    found = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]
    return found + [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]


def names_in(expression: str) -> set[str]:
    """The metrics that the expression asks for."""
    return set(re.findall(r"\b(?:polylens|process)_\w+", expression))


def labels_in(expression: str) -> set[str]:
    """The labels by which it groups or chooses."""
    groups = re.findall(r"\bby \(([^)]*)\)", expression)
    chosen = re.findall(r"(\w+)=~?\"", expression)
    return {label.strip() for group in groups for label in group.split(",")} | set(chosen)


def exposed(text: str) -> dict[str, set[str]]:
    """The labels of each series in Prometheus' text format."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if match := re.match(r"(\w+)(?:\{(.*)\})? ", line):
            found.setdefault(match[1], set()).update(re.findall(r"(\w+)=\"", match[2] or ""))
    return found


def unknown(expression: str, series: dict[str, set[str]]) -> set[str]:
    """Metrics and labels that a server does not have."""
    names = names_in(expression)
    labels = PROCESS.union(*(series.get(name, ()) for name in names))
    return (names - series.keys()) | (labels_in(expression) - labels)


async def test_every_metric_is_one_of_the_server(serve: Any, tmp_path: Path, picture: Any) -> None:
    async with serve(tmp_path) as service:
        await service.client.create_collection("c")
        await service.client.upsert(["a"], collection="c", images=[picture()])
        await service.client.search("one")
        series = exposed(service.engine.metrics.text().decode())
    assert {expression: bad for expression in expressions() if (bad := unknown(expression, series))} == {}
    ours = {
        name for name in series if name.startswith("polylens_") and not name.endswith(("_created", "_sum"))
    }
    shown = set().union(*map(names_in, expressions()))
    families = {re.sub("_(bucket|count)$", "", name) for name in ours}
    assert families - {re.sub("_(bucket|count|sum)$", "", name) for name in shown} == {
        "polylens_text_cache_entries"  # its bytes are shown
    }
    # the controls: names and labels that nobody has
    assert unknown("rate(polylens_request_total[5m])", series) == {"polylens_request_total"}
    assert unknown("sum by (methods) (polylens_requests_total)", series) == {"methods"}


def test_the_dashboard_is_whole() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or (panel["targets"] and panel["description"])
    variables = {one["name"] for one in BOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD))) == variables | {"__rate_interval", "__all"}


def test_every_expression_is_balanced() -> None:
    for expression in expressions():
        bare = re.sub(r'"[^"]*"', "", expression)
        for pair in ("()", "{}", "[]"):
            assert bare.count(pair[0]) == bare.count(pair[1]), expression


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [one for one in OBJECTS if one["kind"] == kind]
    return dict(found)


def settings_of(named: dict[str, Any]) -> Settings:
    """The settings of a YAML file, refused if a name or a value is wrong."""
    return Settings(**named)


def test_settings_that_are_shown_are_settings() -> None:
    text = (DEPLOY / "polylens.yaml").read_text()
    assert settings_of(yaml.safe_load(text)).http_port == 8080
    commented = yaml.safe_load(re.sub(r"(?m)^# (?=\w+: )", "", text))
    assert commented.keys() > {"host", "tls_cert", "tokens"}
    settings_of(commented)
    with pytest.raises(TypeError):  # the control
        settings_of({"htpp_port": 8080})


def test_kubernetes_objects_fit_together() -> None:
    inner = yaml.safe_load(of_kind("ConfigMap")["data"]["polylens.yaml"])
    settings = settings_of(inner)
    spec = of_kind("StatefulSet")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert {flag for flag in container["args"] if flag.startswith("--")} <= FLAGS
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"grpc": settings.port, "http": settings.http_port}
    for one in of_kind("Service")["spec"]["ports"]:
        assert ports[one["targetPort"]] == one["port"]
    assert (
        container["startupProbe"]["grpc"]["port"]
        == container["readinessProbe"]["grpc"]["port"]
        == settings.port
    )
    assert container["livenessProbe"]["httpGet"] == {"port": "http", "path": "/healthz"}
    assert spec["terminationGracePeriodSeconds"] > settings.drain_seconds + settings.grace_seconds
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    volumes = {one["name"] for one in spec["volumes"]} | {"data"}
    assert mounts.keys() == volumes and str(settings.data) == mounts["data"]
    assert str(settings.tokens).startswith(mounts["secret"]) and settings.insecure


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "polylens.service").read_text())
    return parser


def test_the_unit_starts_what_there_is() -> None:
    service = unit()["Service"]
    for command in (service["ExecStartPre"], service["ExecStart"]):
        program, name, *flags = command.split()
        assert program.endswith("/polylens") and name == "serve" and set(flags) <= FLAGS
    lines = re.findall(r"(?m)^Environment=(\w+)=", (DEPLOY / "polylens.service").read_text())
    assert set(lines) == {"POLYLENS_CONFIG", "POLYLENS_DATA", "HF_HOME", "GRPC_VERBOSITY"}
    usual = Settings()
    assert int(service["TimeoutStopSec"]) > usual.drain_seconds + usual.grace_seconds
    if verify := shutil.which("systemd-analyze"):
        said = subprocess.run([verify, "verify", DEPLOY / "polylens.service"], capture_output=True, text=True)
        problems = [line for line in said.stderr.splitlines() if "polylens.service" in line]
        assert [line for line in problems if "not executable" not in line] == []


def test_the_image_installs_and_starts_what_there_is() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    extras = {name for group in re.findall(r"\$wheel\[([\w,]+)\]", text) for name in group.split(",")}
    known = set(re.findall(r'(?m)^    "(\w+)": \[', (DEPLOY.parent / "setup.py").read_text()))
    assert extras == {"cpu", "http", "otel"} <= known
    variables = set(re.findall(r"POLYLENS_(\w+)=", text))
    assert {name.lower() for name in variables} <= set(Settings.__dataclass_fields__)
    assert set(re.findall(r'"(--[\w-]+)"', text)) <= FLAGS
    assert "STOPSIGNAL SIGTERM" in text and re.search(r"(?m)^USER \d+$", text)
    steps = re.sub(r"\\\n", " ", text)
    words = {
        line.split()[0] for line in steps.splitlines() if line.strip() and not line.startswith((" ", "#"))
    }
    assert words <= {
        *("ARG", "FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL"),
        *("HEALTHCHECK", "ENTRYPOINT", "CMD"),
    }
