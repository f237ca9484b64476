"""`python -m local.emulator PORT`: set what MiniStack reads at import, then serve."""

import os
import sys
from pathlib import Path


def main(port: int) -> None:
    """Serve; every file that MiniStack or a function writes lies below the runtime folder."""
    data = Path(os.environ.get("REPLANT_RUNTIME", ".replant")).resolve() / "emulator"
    temporary = data / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        BIND_HOST="127.0.0.1",
        GATEWAY_PORT=str(port),
        MINISTACK_REGION="us-east-1",
        NO_PROXY="127.0.0.1",
        S3_DATA_DIR=str(data / "s3"),
        STATE_DIR=str(data / "state"),
        TMPDIR=str(temporary),
    )
    # Functions inherit the rest: they must see their own role, artifact and layers only.
    for name in [name for name in os.environ if name.startswith("AWS_") or name == "PYTHONPATH"]:
        del os.environ[name]

    from local.emulator import server

    server.serve(port)


if __name__ == "__main__":
    main(int(sys.argv[1]))
