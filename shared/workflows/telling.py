"""New entries of the quarantine -> messages for people, as many as one reads."""

import json

from shared.catalogue.events import Sum
from shared.catalogue.telling import SINGLY, WINDOW
from shared.models.restore_points import Quarantined
from shared.workflows.ingestion import Clients, Names

LIST = 'All of them: invoke SearchFunction with {"quarantine": true}.'
MINUTES = int(WINDOW.total_seconds()) // 60
ENOUGH = (
    f"{SINGLY} objects in quarantine were told one by one in this hour. Further ones are"
    f" counted, and their number is told every {MINUTES} minutes. {LIST}"
)


def tell(entry: Quarantined, event: str, clients: Clients, names: Names) -> None:
    """EVENT is the position of the event that the entry is from."""
    way = clients.catalogue.telling.begin(entry, event)
    if way is None:
        return
    if way.singly:
        _publish("an object is in quarantine", entry.model_dump_json(indent=2), clients, names)
    if way.enough:
        _publish("many objects are in quarantine", ENOUGH, clients, names)
    if way.others:
        clients.sqs.send_message(
            QueueUrl=names.queue,
            MessageBody=Sum(window=way.others).model_dump_json(),
            DelaySeconds=int(WINDOW.total_seconds()),
        )
    clients.catalogue.telling.end(entry)


def sum_up(task: Sum, clients: Clients, names: Names) -> None:
    number = clients.catalogue.telling.others(task.window)
    text = (
        f"{number} more objects came into quarantine, of events in the {MINUTES} minutes from"
        f" {task.window} UTC on. {LIST}"
    )
    told = json.dumps({"objects": number, "since": f"{task.window}:00Z"})
    _publish(f"{number} more objects are in quarantine", f"{text}\n\n{told}", clients, names)


def _publish(subject: str, message: str, clients: Clients, names: Names) -> None:
    clients.sns.publish(TopicArn=names.topic, Subject=f"Replant: {subject}", Message=message)
