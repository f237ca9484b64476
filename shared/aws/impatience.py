"""How long a service of AWS is waited for by those whose own time is short."""

from botocore.config import Config


def impatient(connections: int) -> Config:
    """One that does not answer is given up within twenty seconds."""
    return Config(
        connect_timeout=3,
        read_timeout=5,
        retries={"total_max_attempts": 2, "mode": "standard"},
        max_pool_connections=connections,
    )
