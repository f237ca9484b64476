"""`python -m bench.proxy PORT UPSTREAM_PORT MILLISECONDS`: a loopback TCP proxy with the round trip
of a real network.

Bytes are held back, not throttled: what is sent together arrives together, half a round trip later.
"""

import asyncio
import contextlib
import sys
from functools import partial

CHUNK = 2**16


async def relay(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float) -> None:
    """Every piece DELAY seconds after it came, in order, until the source ends or either side is
    gone.
    """
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while piece := await source.read(CHUNK):
            loop.call_later(delay, _written, sink, piece)
    loop.call_later(delay, sink.close)


def _written(sink: asyncio.StreamWriter, piece: bytes) -> None:
    if not sink.is_closing():
        sink.write(piece)


async def accepted(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upstream: int, round_trip: float
) -> None:
    """One connection; opening it takes a round trip, as a TCP handshake does."""
    await asyncio.sleep(round_trip)
    answers, requests = await asyncio.open_connection("127.0.0.1", upstream)
    await asyncio.gather(
        relay(reader, requests, round_trip / 2), relay(answers, writer, round_trip / 2)
    )


async def serve(port: int, upstream: int, round_trip: float) -> None:
    """Until a signal ends it."""
    handler = partial(accepted, upstream=upstream, round_trip=round_trip)
    server = await asyncio.start_server(handler, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
