"""Programs of envtest's folder are used when they are of the right version, and only then."""

from pathlib import Path

import pytest

from local import assets, binaries

KUBERNETES = binaries._kubernetes_version()
OURS = Path("/cache/controlplane")
CLIENT, PEER = "http://127.0.0.1:1", "http://127.0.0.1:2"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """envtest's; whatever is not found in it is ours, and not built here."""
    monkeypatch.setenv(assets.VARIABLE, str(tmp_path))
    monkeypatch.setattr(binaries, "control_plane", lambda: OURS)
    monkeypatch.setattr(binaries, "_on_demand", lambda *_: OURS)
    return tmp_path


def program(folder: Path, name: str, says: str) -> Path:
    """A shell script of that name, which says its version when it is asked."""
    made = folder / name
    made.write_text(f"#!/bin/sh\nprintf '{says}'\n")
    made.chmod(0o755)
    return made


def test_an_api_server_of_the_version_that_we_would_build_is_used(folder: Path) -> None:
    made = program(folder, "kube-apiserver", f"Kubernetes {KUBERNETES}\\n")
    assert binaries.api_server() == [made]


def test_any_patch_of_etcds_minor_version_is_used_and_set_up_as_ours(folder: Path) -> None:
    made = program(folder, "etcd", "etcd Version: 3.6.99\\nGit SHA: 1\\nGo Version: go1.26\\n")
    command = binaries.etcd(Path("/data"), CLIENT, PEER)
    assert command[0] == made
    assert {
        "--data-dir=/data",
        f"--listen-client-urls={CLIENT}",
        f"--initial-cluster=default={PEER}",
    } <= set(command)


def test_kubectl_is_used_by_its_client_version(folder: Path) -> None:
    says = f"Client Version: {KUBERNETES}\\nKustomize Version: v5.8.0\\n"
    made = program(folder, "kubectl", says)
    assert binaries.kubectl() == made


@pytest.mark.parametrize(
    "says", ["Kubernetes v1.2.3", f"Kubernetes {KUBERNETES}-rc.1", f"Kubernetes {KUBERNETES}9", ""]
)
def test_another_version_is_told_once_and_ignored(
    folder: Path, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = program(folder, "kube-apiserver", says)
    for _ in range(2):
        assert binaries.api_server() == [OURS, "kube-apiserver"]
    assert capsys.readouterr().out == (
        f"{made} is not used: it says {says!r}, and Kubernetes {KUBERNETES} is needed. Put that"
        " version into the folder of KUBEBUILDER_ASSETS, or unset KUBEBUILDER_ASSETS.\n"
    )


@pytest.mark.parametrize("version", ["3.5.21", "3.60.0", "13.6.1"])
def test_another_etcd_is_ignored(folder: Path, version: str) -> None:
    program(folder, "etcd", f"etcd Version: {version}\\n")
    assert binaries.etcd(Path("/data"), CLIENT, PEER) == [OURS, "etcd", Path("/data"), CLIENT, PEER]


def test_a_program_that_does_not_run_is_told_with_the_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(folder, "kubectl", "").chmod(0o644)
    assert binaries.kubectl() == OURS
    assert "Permission denied" in capsys.readouterr().out


def test_what_the_folder_lacks_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert binaries.api_server() == [OURS, "kube-apiserver"]
    assert capsys.readouterr().out == ""


def test_without_the_variable_everything_is_ours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(folder, "kube-apiserver", f"Kubernetes {KUBERNETES}\\n")
    monkeypatch.delenv(assets.VARIABLE)
    assert binaries.api_server() == [OURS, "kube-apiserver"]
