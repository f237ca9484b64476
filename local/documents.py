"""The sample documents that `make up` loads: two clusters, and one backup target that east owns."""

import yaml

Documents = dict[str, str]


def samples(bucket: str) -> Documents:
    """Each document's key in the state bucket, and its text."""
    documents = {
        "clusters/east.yaml": cluster("east"),
        "clusters/west.yaml": cluster("west"),
        "targets/east-s3.yaml": target("east-s3", bucket, "east"),
    }
    return {key: yaml.safe_dump(document, sort_keys=False) for key, document in documents.items()}


def cluster(name: str) -> dict[str, str]:
    """A cluster document; the facts are those of the kinds that the clusters here serve."""
    return {"id": name, "secret": secret(name), "harvester": "1.8.2", "longhorn": "1.11.3"}


def secret(name: str) -> str:
    """The name of a cluster's secret."""
    return f"replant/clusters/{name}"


def target(name: str, bucket: str, owner: str) -> dict[str, str]:
    """A target document for a whole bucket."""
    return {"id": name, "url": f"s3://{bucket}/", "cluster": owner}
