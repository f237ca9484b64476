"""`python -m bench.target NAME`: a cluster with the real controllers, beside what `python -m local
up` has started and known to its stack.
"""

import sys

import yaml

from local import cluster, documents
from local.conformance.cluster import REAL
from local.longhorn import target
from local.runtime import ACCESS
from local.stack import Stack

NETWORK = "vlan200"  # as the cluster west has it


def main(name: str) -> None:
    """Its Longhorn has the stack's bucket as backup target.

    Harvester's own setting is left alone: of each backup in the bucket it would make a
    VirtualMachineBackup, while something is measured.
    """
    stack = Stack.running()
    made = cluster.start([name], REAL)[name]
    for each in cluster.seeds(NETWORK):
        made.api.apply(each)
    target.attach(made.api, "default", target.url_of(stack.bucket), stack.endpoint)
    kubeconfig = made.restricted_kubeconfig(ACCESS)
    secrets = stack.client("secretsmanager")
    secrets.create_secret(Name=documents.secret(name), SecretString=kubeconfig)
    stack.document(f"clusters/{name}.yaml", yaml.safe_dump(documents.cluster(name)))


if __name__ == "__main__":
    main(sys.argv[1])
