"""CloudFormation: properties that MiniStack accepts and forgets."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from ministack.services import dynamodb, iam, lambda_svc
from ministack.services.cloudformation import provisioners

from local.emulator.seams import require, seam

Properties = dict[str, Any]


def _also(patch: str, resource_type: str, apply: Callable[[str, Properties], None]) -> None:
    """Run apply(physical id, properties) after a resource was created and after it was updated."""
    handler = provisioners._RESOURCE_HANDLERS.get(resource_type, {})
    require(patch, {"create", "update"} <= set(handler))
    create, update = handler["create"], handler["update"]

    def created(logical_id: str, properties: Properties, *rest: Any, **more: Any) -> Any:
        made = create(logical_id, properties, *rest, **more)
        apply(made[0], properties)
        return made

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any, **more: Any) -> Any:
        made = update(physical_id, old, new, *rest, **more)
        apply(made[0], new)
        return made

    handler["create"], handler["update"] = created, updated


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


def tables_keep_ttl_and_recovery() -> None:
    """AWS sets a table's time to live and point-in-time recovery from the template; MiniStack drops
    both.
    """
    patch = "tables_keep_ttl_and_recovery"
    set_ttl = seam(patch, dynamodb, "_update_ttl", "data")
    set_backups = seam(patch, dynamodb, "_update_continuous_backups", "data")

    def apply(name: str, properties: Properties) -> None:
        if ttl := properties.get("TimeToLiveSpecification"):
            wanted = {"AttributeName": ttl["AttributeName"], "Enabled": _true(ttl["Enabled"])}
            set_ttl({"TableName": name, "TimeToLiveSpecification": wanted})
        if backups := properties.get("PointInTimeRecoverySpecification"):
            recovery = {"PointInTimeRecoveryEnabled": _true(backups["PointInTimeRecoveryEnabled"])}
            set_backups({"TableName": name, "PointInTimeRecoverySpecification": recovery})

    _also(patch, "AWS::DynamoDB::Table", apply)


def protected_tables_stay() -> None:
    """AWS refuses to delete a table whose deletion protection is on, to a stack as to anybody;
    MiniStack's CloudFormation deletes it.
    """
    patch = "protected_tables_stay"
    handler = provisioners._RESOURCE_HANDLERS.get("AWS::DynamoDB::Table", {})
    require(patch, "delete" in handler and hasattr(dynamodb, "_tables"))
    delete = handler["delete"]

    def deleted(name: str, properties: Properties, *rest: Any, **more: Any) -> Any:
        if _true((dynamodb._tables.get(name) or {}).get("DeletionProtectionEnabled")):
            raise ValueError(f"Table {name} is protected against deletion")
        return delete(name, properties, *rest, **more)

    handler["delete"] = deleted


def functions_keep_their_dead_letter_queue() -> None:
    """AWS keeps a function's DeadLetterConfig; MiniStack's CloudFormation drops it."""
    patch = "functions_keep_their_dead_letter_queue"
    require(patch, hasattr(lambda_svc, "_functions"))

    def apply(name: str, properties: Properties) -> None:
        config = lambda_svc._functions[name.rsplit(":", 1)[-1]]["config"]
        config["DeadLetterConfig"] = properties.get("DeadLetterConfig") or {}

    _also(patch, "AWS::Lambda::Function", apply)


def mappings_count_in_numbers() -> None:
    """AWS makes a number of a parameter where a property is one; MiniStack keeps the text, and its
    poller then compares it with numbers.
    """
    patch = "mappings_count_in_numbers"
    require(patch, hasattr(lambda_svc, "_esms"))

    def apply(mapping: str, properties: Properties) -> None:
        if scaling := properties.get("ScalingConfig"):
            numbers = {name: int(value) for name, value in scaling.items()}
            lambda_svc._esms[mapping]["ScalingConfig"] = numbers

    _also(patch, "AWS::Lambda::EventSourceMapping", apply)


def roles_take_policies() -> None:
    """AWS knows the resource type AWS::IAM::RolePolicy; MiniStack refuses the template."""
    patch = "roles_take_policies"
    put = seam(patch, iam, "_put_role_policy", "p")
    remove = seam(patch, iam, "_delete_role_policy", "p")
    require(patch, "AWS::IAM::RolePolicy" not in provisioners._RESOURCE_HANDLERS)

    def create(_logical_id: str, properties: Properties, _stack: str) -> tuple[str, Properties]:
        answer = put({**properties, "PolicyDocument": json.dumps(properties["PolicyDocument"])})
        if answer[0] >= HTTPStatus.BAD_REQUEST:
            raise ValueError(f"AWS::IAM::RolePolicy: {answer[2]!r}")
        return f"{properties['PolicyName']}|{properties['RoleName']}", {}

    def update(_id: str, old: Properties, new: Properties, stack: str) -> tuple[str, Properties]:
        remove(old)
        return create("", new, stack)

    def delete(_id: str, properties: Properties) -> None:
        remove(properties)

    provisioners._RESOURCE_HANDLERS["AWS::IAM::RolePolicy"] = {
        "create": create,
        "update": update,
        "delete": delete,
    }


PATCHES = (
    tables_keep_ttl_and_recovery,
    protected_tables_stay,
    functions_keep_their_dead_letter_queue,
    mappings_count_in_numbers,
    roles_take_policies,
)
