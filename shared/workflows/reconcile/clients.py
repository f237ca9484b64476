"""What the steps of a reconcile read from and write to."""

from typing import NamedTuple

from shared.aws.table import Table
from shared.runs.reconciles import Notes
from shared.workflows import ingestion
from shared.workflows.clock import Clock


class Clients(NamedTuple):
    """CATALOGUE is what ingestion uses, with the same bucket, queue and topic."""

    table: Table
    catalogue: ingestion.Clients
    names: ingestion.Names
    clock: Clock = Clock()

    def notes(self, id_: str) -> Notes:
        """Those of one reconcile."""
        return Notes(self.table, self.catalogue.s3, self.names.state_bucket, id_)
