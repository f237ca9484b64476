"""Secrets Manager: the stored kubeconfig of a cluster."""

from typing import TYPE_CHECKING

from shared.errors import NotFound
from shared.models.documents import ClusterDocument

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
