"""The server as a process: it starts, is told to stop, follows the registry, and stands a mixed load."""

import asyncio
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from pipeline.compose import load_config
from pipeline.train import train
from tests.conftest import Done
from tests.models import bundle_folder_of, row, trained

LOAD_SECONDS, CLIENTS = 60, 50
KINDS = ("good", "bad", "broken", "many", "slow", "cut", "huge")
JSON = {"Content-Type": "application/json"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "serve", *arguments, "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None or answers(f"{address}/ping"):
                break
            time.sleep(0.05)
        yield address, process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def post(url: str, content: Any, **headers: str) -> tuple[int, Any]:
    given = {"Content-Type": "application/json"} | headers
    request = urllib.request.Request(url, json.dumps(content).encode(), given)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def folder(target: str = "bought") -> str:
    return str(bundle_folder_of(*trained(target)))


# ---------------------------------------------------------------- start and end
def test_a_folder_is_served_until_sigterm_which_finishes_what_is_under_way() -> None:
    with serving(folder()) as (address, process):
        assert post(f"{address}/invocations", {"instances": [row()]})[0] == 200
        memory = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        assert int(memory[0]) < 200_000
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            body = json.dumps({"instances": [row()]}).encode()
            head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:10])
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            connection.sendall(body[10:])
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert process.wait(20) == 0


def test_ctrl_c_ends_it_and_answers_are_not_held_back() -> None:
    with serving(folder()) as (address, process):
        connection = http.client.HTTPConnection(address.removeprefix("http://"))
        taken = []
        for _ in range(60):  # the first ones are acknowledged at once
            start = time.perf_counter()
            connection.request("GET", "/ping")
            connection.getresponse().read()
            taken.append(time.perf_counter() - start)
        connection.close()
        assert median(taken[30:]) < 0.02  # Nagle's algorithm would hold each back for 40 ms
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("absent",), "error: there are no runs under mlruns yet; train first: pipeline train data=csv data.path=FIL"),
        (("empty",), "error: bundle empty: bundle.json cannot be read: No such file or directory"),
        (("--token-env", "NOT_SET"), "error: --token-env: the environment variable NOT_SET is not set; put the token"),
        (("serve.max_rows=0",), "error: serve.max_rows: must be greater than or equal to 1, got 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_one_line(arguments: tuple[str, ...], line: str, cli: Callable[..., Done]) -> None:
    Path("empty").mkdir()
    done = cli("serve", *arguments)
    assert (done.code, done.err.startswith(line), done.err.count("\n")) == (2, True, 1), done.err


def test_a_port_in_use_is_told_with_another(cli: Callable[..., Done]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = cli("serve", folder(), "--port", str(port))
    told = f"error: --port: {port} cannot be used (Address already in use); choose another, as --port {port + 1}\n"
    assert (done.code, done.err) == (2, told)


@pytest.mark.slow
def test_the_best_run_is_served_and_a_new_champion_takes_its_place(root: Path) -> None:
    short = ["data=breast_cancer", "model.hidden=[8]"]
    first = train(load_config([*short, "trainer.max_epochs=1", "optimizer.lr=1e-6"]))
    with serving("--watch", "--token-env", "TOKEN", TOKEN="t0p") as (address, _):
        headers = {"Authorization": "Bearer t0p"}

        def served() -> str:
            request = urllib.request.Request(f"{address}/version", headers=headers)
            with urllib.request.urlopen(request) as answer:
                return str(json.load(answer)["run_id"])

        assert served() == first.run_id
        assert post(f"{address}/reload", {})[0] == 401
        second = train(load_config([*short, "trainer.max_epochs=30"]))
        assert "champion" in second.registered
        deadline = time.monotonic() + 60
        while served() != second.run_id:
            assert time.monotonic() < deadline
            time.sleep(0.5)


# ---------------------------------------------------------------- load
@pytest.mark.slow
def test_a_mixed_load_with_a_reload_gets_no_wrong_answer_and_no_5xx(tmp_path: Path) -> None:
    place = tmp_path / "model"
    shutil.copytree(folder(), place)
    with serving(str(place)) as (address, process):
        _, expected = post(f"{address}/invocations", {"instances": [row()]})
        outcome = asyncio.run(load(address, place, expected["predictions"][0], process.pid))
    assert outcome["wrong"] == []
    assert not [status for status in outcome["statuses"] if status >= 500]
    assert {200, 400, 413, 422} <= {*outcome["statuses"]}
    assert outcome["statuses"][200] > 1000
    half, end = outcome["memory"]
    assert end < 1.15 * half + 5000  # kB


async def load(address: str, place: Path, expected: dict[str, Any], pid: int) -> dict[str, Any]:
    import httpx

    deadline, statuses, wrong = time.monotonic() + LOAD_SECONDS, dict[int, int](), list[Any]()
    good, bad = json.dumps({"instances": [row()]}), json.dumps({"instances": [row(x="a")]})
    many = json.dumps({"instances": [row()] * 300})
    bodies: dict[str, Any] = {"good": good, "bad": bad, "broken": "{", "many": many, "huge": b"x" * (17 * 2**20)}

    async def slow() -> Any:
        for part in (good[:5], good[5:]):
            await asyncio.sleep(0.2)
            yield part.encode()

    async def client(number: int) -> None:
        generator = random.Random(number)
        async with httpx.AsyncClient(base_url=address, timeout=60) as http:
            while time.monotonic() < deadline:
                (kind,) = generator.choices(KINDS, [60, 15, 8, 4, 6, 5, 1])
                if kind == "cut":
                    await cut_off(address)
                    continue
                try:
                    body = slow() if kind == "slow" else bodies[kind]
                    answer = await http.post("/invocations", content=body, headers=JSON)
                except httpx.TransportError as error:
                    if kind != "huge":  # whose connection is closed while it is sent
                        wrong.append(repr(error))
                    continue
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                if kind in ("good", "slow") and answer.json().get("predictions") != [expected]:
                    wrong.append(answer.text)

    async def reload() -> int:
        await asyncio.sleep(LOAD_SECONDS / 2)
        os.utime(place / "bundle.json")
        async with httpx.AsyncClient(base_url=address, timeout=60) as http:
            assert (await http.post("/reload")).json()["changed"] is True
        return memory(pid)

    half = asyncio.create_task(reload())
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return {"statuses": statuses, "wrong": wrong[:3], "memory": (await half, memory(pid))}


async def cut_off(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()


def memory(pid: int, quantity: str = "VmRSS") -> int:
    return int(re.findall(rf"{quantity}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0])


@pytest.mark.slow
def test_schemathesis_finds_nothing() -> None:
    program = Path(sys.executable).with_name("schemathesis")
    with serving(folder()) as (address, _):
        done = subprocess.run(
            [str(program), "run", f"{address}/openapi.json", "--max-examples", "40", "--seed", "1"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.slow
def test_many_large_bodies_at_once_do_not_fill_the_memory() -> None:
    body = b"[" + b" " * (15 * 2**20)

    async def send(address: str) -> list[int]:
        import httpx

        async def one() -> int:
            async with httpx.AsyncClient(base_url=address, timeout=60) as http:
                return (await http.post("/invocations", content=body, headers=JSON)).status_code

        return await asyncio.gather(*(one() for _ in range(CLIENTS)))

    with serving(folder()) as (address, process):
        before = memory(process.pid)
        assert asyncio.run(send(address)) == [400] * CLIENTS
        assert memory(process.pid, "VmHWM") - before < 300_000  # kB; the bodies are 790 MB
