"""Nothing running in, the whole embedded runtime and its runtime.json out; and back."""

import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from local import binaries, cloud, cluster, documents, processes
from local.longhorn import target
from local.stack import Runtime

Result = TypeVar("Result")
Outputs = Mapping[str, str]

FILE = processes.RUNTIME / "runtime.json"
NAMES = ("east", "west")
PARTS = (cloud.NAME, *(f"{name}-{role}" for name in NAMES for role in cluster.Cluster(name).roles))
FILES = "files"
"""The folder that stands for the file system of the template."""

FILE_SYSTEMS = f"arn:aws:elasticfilesystem:{cloud.REGION}:{cloud.ACCOUNT}"
DOCS = cloud.ROOT / "docs"
ACCESS = DOCS / "target-access.yaml"
OF_A_SOURCE = DOCS / "source-access.yaml"
OF_HARVESTER = DOCS / "harvester-access.yaml"
IMPORTS = DOCS / "iam" / "import-images.json"
IMPORT_USER = "replant-import"
ARCHITECTURES = {"aarch64": "arm64"}


def up() -> int:
    """Start what is not there yet; the exit status."""
    if FILE.exists():
        return _already()
    if left := processes.running():
        print(f"Still starting, or left over from an interrupted start: {', '.join(left)}.")
        print("Stop it first: make down")
        return 1
    started = time.monotonic()
    with _all_or_nothing():
        runtime = _start()
        FILE.write_text(json.dumps(runtime, indent=2) + "\n")
    print(f"Up after {time.monotonic() - started:.1f} s: {runtime['awsEndpoint']}, see {FILE}")
    return 0


def down() -> int:
    """Stop exactly what was started; the logs stay."""
    FILE.unlink(missing_ok=True)
    stopped = processes.stop_all()
    _forget_data()
    if stopped:
        print(f"Stopped {', '.join(stopped)}.")
    else:
        print("Nothing was running.")
    return 0


def status() -> int:
    """Tell of every part whether it runs; success when all do."""
    dead = _dead()
    for part in PARTS:
        state = "down" if part in dead else "up"
        print(f"{part:20}{state}")
    return int(bool(dead) or not FILE.exists())


def outage(name: str) -> int:
    """Take a cluster's API server away, until `recover`."""
    done = f"Cluster {name} takes no connections. Bring it back: make recover CLUSTER={name}"
    return _with_cluster(name, cluster.Cluster.take_away, done)


def recover(name: str) -> int:
    """Bring a cluster back with its data."""
    return _with_cluster(name, cluster.Cluster.bring_back, f"Cluster {name} answers.")


def _with_cluster(name: str, do: Callable[[cluster.Cluster], None], done: str) -> int:
    if problem := _unknown(name):
        print(problem)
        return 1
    do(cluster.Cluster(name))
    print(done)
    return 0


def _unknown(name: str) -> str | None:
    """Why there is no cluster of that name here."""
    if not FILE.exists():
        return "Nothing is up. Start it first: make up"
    if name not in NAMES:
        return f"Unknown cluster {name!r}. Known: {', '.join(NAMES)}."
    return None


def _already() -> int:
    if dead := _dead():
        print(f"It was up, but no longer runs: {', '.join(dead)}. See {processes.RUNTIME / 'logs'}")
        print("Then: make down")
        return 1
    print(f"It is up already: {json.loads(FILE.read_text())['awsEndpoint']}, see {FILE}")
    return 0


def _dead() -> list[str]:
    return [part for part in PARTS if not processes.alive(part)]


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Whatever interrupts a start, nothing of it stays."""
    try:
        yield
    except BaseException:
        print(
            f"Not started; stopping what was. The logs are in {processes.RUNTIME / 'logs'}",
            flush=True,
        )
        FILE.unlink(missing_ok=True)
        processes.stop_all()
        raise


def _start() -> Runtime:
    _forget_data()
    (processes.RUNTIME / FILES).mkdir(parents=True)
    _step("programs of the clusters", binaries.control_plane)
    with ThreadPoolExecutor(1) as pool:
        clusters = pool.submit(_step, "clusters east and west", partial(cluster.start, NAMES))
        try:
            endpoint = _step("embedded AWS", cloud.start)
            outputs = _step("stack", partial(cloud.deploy, endpoint, cloud.BUILD, parameters()))
        except BaseException:
            # Else the clusters would be waited for; they give up when their parts are gone.
            processes.stop_all()
            raise
        running = clusters.result()
    _step("backup targets", partial(_attach_targets, endpoint, outputs, running))
    _step("secrets", partial(_load_secrets, endpoint, outputs))
    _step("documents", partial(_load_documents, endpoint, outputs))
    _step("alarms of the clusters", partial(_watch, endpoint))
    return described(endpoint, outputs, running)


def described(
    endpoint: str, outputs: dict[str, str], running: Mapping[str, cluster.Cluster]
) -> Runtime:
    """What somebody needs to know of it to use it."""
    return {
        "awsEndpoint": endpoint,
        "region": cloud.REGION,
        "account": cloud.ACCOUNT,
        "outputs": outputs,
        "clusters": {name: str(each.kubeconfig) for name, each in running.items()},
        "files": str(processes.RUNTIME / FILES),
    }


def _step(what: str, do: Callable[[], Result]) -> Result:
    started = time.monotonic()
    result = do()
    print(f"  {what:28}{time.monotonic() - started:6.1f} s", flush=True)
    return result


def parameters() -> Outputs:
    """Of the template, for a stack beside the clusters on this machine."""
    machine = platform.machine()
    return {
        "AllowLoopbackClusters": "true",
        "Architecture": ARCHITECTURES.get(machine, machine),
        # There is no network to place a function in; that the guard asks a second one is real.
        "SecondProbeSubnetIds": "subnet-2",
        "SecondProbeSecurityGroupIds": "sg-2",
        # A folder of this machine stands for it.
        "FileSystemAccessPointArn": f"{FILE_SYSTEMS}:access-point/fsap-{1:017x}",
        "FileSystemSubnetIds": "subnet-3",
        "FileSystemSecurityGroupIds": "sg-3",
    }


def _attach_targets(
    endpoint: str, outputs: Outputs, clusters: Mapping[str, cluster.Cluster]
) -> None:
    """On each cluster, Harvester's setting and Longhorn's own target name the first bucket."""
    bucket = outputs["BackupBuckets"].split(",")[0]
    for each in clusters.values():
        target.configure(each.api, bucket, endpoint)
        target.attach(each.api, "default", target.url_of(bucket), endpoint)


def _load_secrets(endpoint: str, outputs: Outputs) -> None:
    """The kubeconfigs that the system uses have only the rights of the shipped ClusterRoles, and
    the keys that images are read with those of the shipped policy.
    """
    rights = {name: [ACCESS, OF_HARVESTER] for name in NAMES}
    rights["east"].append(OF_A_SOURCE)  # which the samples make the source of all backups
    with ThreadPoolExecutor() as pool:
        kubeconfigs = list(pool.map(cluster.restricted_kubeconfig, rights, rights.values()))
    secrets = cloud.client(endpoint, "secretsmanager")
    for name, kubeconfig in zip(NAMES, kubeconfigs, strict=True):
        secrets.create_secret(Name=documents.secret(name), SecretString=kubeconfig)
    keep_import_keys(endpoint, outputs["StateBucket"])


def keep_import_keys(endpoint: str, bucket: str) -> None:
    """Of a user of their own, as docs/deploy.md has an operator make them."""
    users = cloud.client(endpoint, "iam")
    policy = IMPORTS.read_text().replace("STATE_BUCKET", bucket)
    users.create_user(UserName=IMPORT_USER)
    users.put_user_policy(UserName=IMPORT_USER, PolicyName="import", PolicyDocument=policy)
    made = users.create_access_key(UserName=IMPORT_USER)["AccessKey"]
    keys = {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
    }
    secrets = cloud.client(endpoint, "secretsmanager")
    secrets.create_secret(Name="replant/import", SecretString=json.dumps(keys))


def _load_documents(endpoint: str, outputs: Outputs) -> None:
    samples = documents.samples(outputs["BackupBuckets"].split(",")[0])
    bucket = cloud.client(endpoint, "s3")
    for key, text in samples.items():
        bucket.put_object(Bucket=outputs["StateBucket"], Key=key, Body=text.encode())
    known = partial(_known, cloud.client(endpoint, "dynamodb"), outputs)
    processes.wait_until(
        lambda: set(samples) <= known(),
        seconds=60,
        what="the catalogue knows the documents",
        name=cloud.NAME,
    )


def _watch(endpoint: str) -> None:
    """What their clocks would have done some minutes later: two looks at the clusters, and then an
    alarm for each.
    """
    functions = cloud.client(endpoint, "lambda")
    for name in ("ProbeFunction", "ProbeFunction", "UpkeepFunction"):
        found = cloud.physical_name(endpoint, name)
        answer = functions.invoke(FunctionName=found, Payload=b"{}")
        if "FunctionError" in answer:
            raise RuntimeError(f"{name} fails: {answer['Payload'].read().decode()}")


def _known(tables: Any, outputs: Outputs) -> set[str]:
    """The keys of the state bucket that the catalogue has read. Raises ValueError for a refused
    document.
    """
    rows = tables.scan(TableName=outputs["CatalogueTable"], ConsistentRead=True)["Items"]
    ours = [
        row for row in rows if row.get("bucket") == {"S": outputs["StateBucket"]} and "key" in row
    ]
    for row in ours:
        if "problem" in row and "S" in row["problem"]:
            raise ValueError(f"the catalogue refuses {row['key']['S']}: {row['problem']['S']}")
    return {row["key"]["S"] for row in ours}


def _forget_data() -> None:
    for folder in ("emulator", FILES):
        shutil.rmtree(processes.RUNTIME / folder, ignore_errors=True)
