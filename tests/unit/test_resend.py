"""The command that sends the messages of one queue to another."""

from typing import Any

import pytest

from shared.commands import resend

ORIGIN, DESTINATION = "arn:aws:sqs:eu-central-1:1:missed", "arn:aws:sqs:eu-central-1:1:catalogue"


class Queues:
    """Two of them, by name; every call is noted, and sending breaks at a body `broken`."""

    def __init__(self, *bodies: str) -> None:
        self.bodies = {"missed": list(bodies), "catalogue": []}
        self.calls: list[str] = []

    def get_queue_url(self, **asked: str) -> dict[str, str]:
        assert asked["QueueOwnerAWSAccountId"] == "1"
        return {"QueueUrl": asked["QueueName"]}

    def receive_message(self, **asked: Any) -> dict[str, Any]:
        assert asked["WaitTimeSeconds"] > 0
        waiting = self.bodies[asked["QueueUrl"]][: asked["MaxNumberOfMessages"]]
        found = [{"Body": body, "ReceiptHandle": body} for body in waiting]
        return {"Messages": found} if found else {}

    def send_message(self, **sent: str) -> None:
        if sent["MessageBody"] == "broken":
            raise ConnectionError
        self.calls.append("send")
        self.bodies[sent["QueueUrl"]].append(sent["MessageBody"])

    def delete_message(self, **gone: str) -> None:
        self.calls.append("delete")
        self.bodies[gone["QueueUrl"]].remove(gone["ReceiptHandle"])


def test_every_message_is_sent_and_then_deleted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queues = Queues(*(str(number) for number in range(12)))
    monkeypatch.setattr("boto3.client", lambda _service: queues)
    assert resend.main([ORIGIN, DESTINATION]) == 0
    assert queues.bodies["missed"] == []
    assert queues.bodies["catalogue"] == [str(number) for number in range(12)]
    assert queues.calls == ["send", "delete"] * 12
    assert capsys.readouterr().out == f"12 messages sent to {DESTINATION}\n"


def test_a_message_that_is_not_sent_stays() -> None:
    queues: Any = Queues("one", "broken", "two")
    with pytest.raises(ConnectionError):
        resend.resend(queues, ORIGIN, DESTINATION)
    assert queues.bodies == {"missed": ["broken", "two"], "catalogue": ["one"]}


@pytest.mark.parametrize("arguments", [[], [ORIGIN], ["missed", "catalogue"], [ORIGIN] * 3])
def test_it_says_how_it_is_called(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert resend.main(arguments) == 2
    assert "resend FROM TO" in capsys.readouterr().err
