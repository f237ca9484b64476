"""Secrets Manager: the stored kubeconfig of a cluster, and the keys of a backup target."""

from typing import TYPE_CHECKING

from shared.errors import NotFound
from shared.models.documents import SECRETS_PREFIX, BackupTarget, ClusterDocument

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def kubeconfig_of(secrets: "SecretsManagerClient", cluster: ClusterDocument) -> str:
    """The kubeconfig as it is stored: hostile until parsed. Raises NotFound."""
    try:
        return secrets.get_secret_value(SecretId=cluster.secret)["SecretString"]
    except (secrets.exceptions.ResourceNotFoundException, KeyError):
        raise NotFound(
            f"cluster {cluster.id}: secret {cluster.secret} has no text; store a kubeconfig in it"
            " (`python -m shared.commands.access` makes one)",
            "target",
        ) from None


def keys_of(secrets: "SecretsManagerClient", target: BackupTarget, prefix: str) -> str:
    """As they are stored, below this stack's PREFIX. Raises NotFound."""
    name = prefix + (target.credential_secret or "").removeprefix(SECRETS_PREFIX)
    try:
        return secrets.get_secret_value(SecretId=name)["SecretString"]
    except (secrets.exceptions.ResourceNotFoundException, KeyError):
        raise NotFound(
            f"target {target.id}: secret {name} has no text; store its keys in it as JSON, with"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            "target",
        ) from None


def import_keys(secrets: "SecretsManagerClient", name: str) -> str:
    """By which clusters read the images of restores, as they are stored. Raises NotFound."""
    try:
        return secrets.get_secret_value(SecretId=name)["SecretString"]
    except (secrets.exceptions.ResourceNotFoundException, KeyError):
        raise NotFound(
            f"secret {name}, with whose keys clusters read the images that they import, has no"
            " text: store the keys of a user in it that may read work/images/ in the state bucket,"
            " as docs/deploy.md says (Keys to import images with)",
            "target",
        ) from None
