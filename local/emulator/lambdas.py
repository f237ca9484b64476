"""Lambda: what callers see of an error, what reaches the log, how many environments run."""

import hashlib
import io
import json
import os
import queue
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime as runtime
from ministack.services import eventbridge, lambda_svc

from local.emulator.seams import edit, require, seam

Result = dict[str, Any]

ENVIRONMENTS = 4
FILES = "files"
"""The folder of the runtime that stands for a file system."""

END_OF_LOG = "\x1eend-of-invocation"
_LOG_PATIENCE = 1.0


def errors_keep_their_type() -> None:
    """AWS answers the exception's class, message and stack, and keeps the environment.

    MiniStack says Runtime.HandlerError for every exception, which no Retry or Catch by name can
    match, and ends the worker.
    """
    patch = "errors_keep_their_type"
    runtime._PYTHON_WORKER_SCRIPT = edit(
        patch,
        runtime._PYTHON_WORKER_SCRIPT,
        '{"status": "error", "error": str(e), "trace": traceback.format_exc()}',
        '{"status": "ok", "result": {"__error__": {"errorMessage": str(e),'
        ' "errorType": type(e).__name__,'
        ' "stackTrace": traceback.format_tb(e.__traceback__)[1:]}},'
        # An expression that prints: what is edited here stands inside a call.
        " **(traceback.print_exc() or {})}",
    )
    execute = seam(patch, lambda_svc, "_execute_function_warm", "func", "event", "request_id")

    def execute_function(func: Result, event: Any, request_id: str) -> Result:
        result: Result = execute(func, event, request_id)
        body = result.get("body")
        if not isinstance(body, dict) or set(body) != {"__error__"}:
            return result
        return {**result, "error": True, "body": {**body["__error__"], "requestId": request_id}}

    lambda_svc._execute_function_warm = execute_function


def logs_are_whole() -> None:
    """AWS collects every line that an invocation wrote.

    MiniStack waits 50 ms for a first line (so a silent invocation takes that long) and may miss
    late ones; here the worker marks the end of each invocation's output.
    """
    patch = "logs_are_whole"
    runtime._PYTHON_WORKER_SCRIPT = edit(
        patch,
        runtime._PYTHON_WORKER_SCRIPT,
        "        _real_stdout.flush()\n\nrun()",
        f"        print({END_OF_LOG!r}, file=sys.stderr, flush=True)\n"
        "        _real_stdout.flush()\n\nrun()",
    )
    seam(patch, runtime.Worker, "_drain_stderr_bounded", "self", "first_line_wait")

    def drain(self: Any, *_waits: float) -> str:
        return "\n".join(_lines_until_mark(self._stderr_queue, time.monotonic() + _LOG_PATIENCE))

    runtime.Worker._drain_stderr_bounded = drain


def _lines_until_mark(lines: "queue.Queue[str]", deadline: float) -> list[str]:
    """A worker that died has written no mark: then what came until the deadline."""
    found: list[str] = []
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=left)
        except queue.Empty:
            break
        if line.endswith(END_OF_LOG):
            found.append(line.removesuffix(END_OF_LOG))
            break
        found.append(line)
    return [line for line in found if line]


def logging_reaches_the_log() -> None:
    """AWS's runtime logs from INFO on when a function's LogFormat is JSON; MiniStack's has no
    handler.
    """
    runtime._PYTHON_WORKER_SCRIPT = edit(
        "logging_reaches_the_log",
        runtime._PYTHON_WORKER_SCRIPT,
        "def run():",
        "import logging\nlogging.basicConfig(level=logging.INFO)\n\ndef run():",
    )


def environments_are_few() -> None:
    """AWS runs up to 1,000 environments; this machine runs 4 a function (52 MB each), the rest
    waits.
    """
    dispatch = seam(
        "environments_are_few", lambda_svc, "_execute_function_dispatch", "func", "config", "event"
    )
    slots: dict[str, threading.Semaphore] = {}

    def limited(func: Result, config: Result, *rest: Any) -> Any:
        with slots.setdefault(config["FunctionName"], threading.Semaphore(ENVIRONMENTS)):
            return dispatch(func, config, *rest)

    lambda_svc._execute_function_dispatch = limited


def dead_letters_are_the_event() -> None:
    """AWS puts the event itself into a function's dead-letter queue; MiniStack wraps it as for a
    destination.
    """
    patch = "dead_letters_are_the_event"
    route = seam(
        patch, lambda_svc, "_route_async_failure", "target_arn", "func_name", "event", "result"
    )
    send = seam(patch, eventbridge, "_dispatch_to_sqs", "spec", "payload")
    publish = seam(patch, eventbridge, "_dispatch_to_sns", "arn")

    def routed(target_arn: str, func_name: str, event: Any, result: Result) -> None:
        config = (lambda_svc._functions.get(func_name) or {}).get("config") or {}
        if (config.get("DeadLetterConfig") or {}).get("TargetArn") != target_arn:
            route(target_arn, func_name, event, result)
        elif ":sqs:" in target_arn:
            send(lambda_svc.parse_arn(target_arn), json.dumps(event))
        else:
            publish(target_arn, json.dumps(event))

    lambda_svc._route_async_failure = routed


def rules_invoke_with_retries() -> None:
    """AWS invokes a rule's function asynchronously, with two retries, then a dead-letter queue.

    MiniStack tries once and forgets the failure.
    """
    patch = "rules_invoke_with_retries"
    seam(patch, eventbridge, "_dispatch_to_lambda", "arn", "payload")
    invoke = seam(patch, lambda_svc, "invoke_async_with_retry", "func", "event")
    require(patch, callable(lambda_svc._get_func_record_for_ref))

    def dispatch(arn: str, payload: str) -> None:
        func, config, _ = lambda_svc._get_func_record_for_ref(arn)
        if func and config:
            invoke(lambda_svc._execution_record_for_config(func, config), json.loads(payload))

    eventbridge._dispatch_to_lambda = dispatch


def layers_are_unpacked_once() -> None:
    """AWS mounts a layer; MiniStack unpacks it for every environment (65 MB and 3 s each).

    Here each layer lies unpacked once, and an environment gets a file that says where.
    """
    patch = "layers_are_unpacked_once"
    runtime._PYTHON_WORKER_SCRIPT = edit(
        patch,
        runtime._PYTHON_WORKER_SCRIPT,
        '_py = os.path.join(_ld, "python")',
        '_py = os.path.join(open(os.path.join(_ld, "mounted")).read(), "python")',
    )
    resolve = seam(patch, lambda_svc, "_resolve_layer_zip", "attachment")
    unpacking = threading.Lock()

    def resolved(attachment: Any) -> bytes | None:
        content: bytes | None = resolve(attachment)
        if not content:
            return content
        with unpacking:
            return _pointer(_unpacked(content))

    lambda_svc._resolve_layer_zip = resolved


def _unpacked(content: bytes) -> Path:
    folder = Path(tempfile.gettempdir()) / "layers" / hashlib.sha256(content).hexdigest()
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(partial)
        partial.rename(folder)
    return folder


def _pointer(folder: Path) -> bytes:
    pointer = io.BytesIO()
    with zipfile.ZipFile(pointer, "w") as archive:
        archive.writestr("mounted", str(folder))
    return pointer.getvalue()


def file_systems_are_folders() -> None:
    """AWS mounts a file system where FileSystemConfigs say; MiniStack passes over that.

    Here a folder of the runtime stands for it: a function that is told of a mount is told of that.
    """
    patch = "file_systems_are_folders"
    init = seam(patch, runtime.Worker, "__init__", "self", "func_name", "config", "code_zip")

    def made(self: Any, func_name: str, config: Result, code_zip: bytes) -> None:
        init(self, func_name, _mounting(config), code_zip)

    runtime.Worker.__init__ = made


def _mounting(config: Result) -> Result:
    environment = config.get("Environment") or {}
    variables = environment.get("Variables") or {}
    if not variables.get("MOUNT"):
        return config
    folder = Path(os.environ["REPLANT_RUNTIME"]) / FILES
    folder.mkdir(exist_ok=True)
    mounted = {**variables, "MOUNT": str(folder)}
    return {**config, "Environment": {**environment, "Variables": mounted}}


PATCHES = (
    file_systems_are_folders,
    errors_keep_their_type,
    logs_are_whole,
    logging_reaches_the_log,
    environments_are_few,
    dead_letters_are_the_event,
    rules_invoke_with_retries,
    layers_are_unpacked_once,
)
