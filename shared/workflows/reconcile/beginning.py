"""A request to reconcile a target -> its keys divided into ranges, and a record of it."""

import hashlib
from datetime import datetime
from typing import Any

from shared.catalogue import documents
from shared.layouts import registry
from shared.models.reconciles import ReconcileRequest, Run
from shared.validation import parse
from shared.workflows.reconcile.clients import Clients

MOST_RANGES = 16
"""Each is a child execution."""


def begin(clients: Clients, body: Any, execution: str, started: datetime) -> Run:
    """BODY is the request as somebody typed it; STARTED is when the execution was.

    Raises InvalidRequest, NotFound for a target without a document in force, and Refused for a
    bucket or a folder that may not be listed.
    """
    request = parse(ReconcileRequest, body, lacking={})
    target = documents.need(clients.table, "targets", request.target, "target")
    id_ = hashlib.sha256(execution.encode()).hexdigest()[:16]
    ranges = clients.catalogue.stores.ranges(
        target.bucket,
        target.prefix,
        open_up=registry.FOLDERS_OF_FOLDERS,
        most=MOST_RANGES,
    )
    run = Run(
        id=id_,
        run=f"{started:%Y%m%dT%H%M%S%fZ}",
        target=target.id,
        bucket=target.bucket,
        prefix=target.prefix,
        ranges=tuple(ranges),
        confirm_vanished=request.confirm_vanished,
    )
    return clients.notes(id_).begin(run, clients.clock.now())
