"""Requests to a server, one after the other and from many clients; prints the seconds of each as JSON."""

import asyncio
import json
import sys
import time

HEAD = "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"


class Client:
    """A connection that is kept open."""

    async def open(self, port: int) -> "Client":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def ask(self, request: bytes) -> float:
        """Seconds to the whole answer; raises where that is no 200."""
        start = time.perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        (length,) = [
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        ]
        await self._reader.readexactly(length)
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(head.decode())
        return time.perf_counter() - start


def request(method: str, path: str, body: str = "") -> bytes:
    """A request as it goes over the wire."""
    content = body.encode()
    return HEAD.format(method=method, path=path, length=len(content)).encode() + content


async def main(port: int, n_requests: int, n_clients: int, body: str) -> None:
    row, ping = request("POST", "/invocations", body), request("GET", "/ping")
    alone = await Client().open(port)
    for _ in range(10):  # the first take longer
        await alone.ask(row)
    taken = {"row": [], "ping": [], "many": []}  # type: dict[str, list[float]]
    for _ in range(n_requests):
        taken["row"].append(await alone.ask(row))
        taken["ping"].append(await alone.ask(ping))
    clients = await asyncio.gather(*(Client().open(port) for _ in range(n_clients)))

    async def keep_asking(client: Client) -> None:
        for _ in range(max(1, 4 * n_requests // n_clients)):
            taken["many"].append(await client.ask(row))

    start = time.perf_counter()
    await asyncio.gather(*map(keep_asking, clients))
    taken["wall"] = [time.perf_counter() - start]
    sys.stdout.write(json.dumps(taken))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
