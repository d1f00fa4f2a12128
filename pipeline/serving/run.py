"""The server as a process: its socket, its token, its end."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from types import FrameType

import uvicorn

from pipeline.config import Serve
from pipeline.errors import ConfigError, PipelineError
from pipeline.serving.app import Server, build_app
from pipeline.serving.models import Resolve

LOOPBACK = ("127.0.0.1", "localhost", "::1")
WATCH_SECONDS = 2.0  # between two looks for another champion
BACKLOG = 2048
STOP_SECONDS = 30  # for what is under way when the server is told to stop


def serve(
    resolve: Resolve,
    asked: Serve,
    *,
    host: str,
    port: int,
    token_env: str | None,
    watch: Callable[[], object] | None,
    announce: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C or SIGTERM; what is under way is finished.

    Args:
        resolve: gives the folder of the model to serve.
        asked: the config's section.
        host: address to listen on.
        port: port to listen on.
        token_env: environment variable with the bearer token that requests need; None: none is needed.
        watch: a value that changes when there may be another model; None: it is only looked for when asked to.
        announce: is told where the server is.

    Raises:
        ConfigError: the address is taken, or the token's variable is not set.
        PipelineError: there is no model.
    """
    token = _token(token_env)
    with closing(_bind(host, port)) as bound:
        server = Server(resolve, asked, token)
        if host not in LOOPBACK and token is None:
            announce(f"warning: {host} can be reached from other machines, and no token is asked for; see --token-env")
        if watch is not None:
            threading.Thread(target=_watch, args=(server, watch), daemon=True).start()
        schema = server.served.bundle.schema
        announce(f"{schema.name} ({schema.task}) at http://{host}:{bound.getsockname()[1]}/ (Ctrl-C stops it)")
        signal.signal(signal.SIGTERM, _raise_interrupt)  # uvicorn raises what stopped it again when it has ended
        with suppress(KeyboardInterrupt):
            asyncio.run(uvicorn.Server(_config(server)).serve(sockets=[bound]))


def _config(server: Server) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(server),
        log_level="warning",
        access_log=False,
        lifespan="off",
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def _token(name: str | None) -> str | None:
    if name is None:
        return None
    token = os.environ.get(name, "")
    if not token:
        raise ConfigError(f"--token-env: the environment variable {name} is not set; put the token there")
    return token


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else asyncio leaves Nagle's 40 ms delay on
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        what = f"--port: {port}" if host in LOOPBACK else f"--host: {host}, port {port}"
        raise ConfigError(f"{what} cannot be used ({error.strerror}); choose another, as --port {port + 1}") from error
    return bound


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _watch(server: Server, mark: Callable[[], object]) -> None:
    """Look for another model whenever the mark has changed."""
    seen, pause = mark(), threading.Event()
    while not pause.wait(WATCH_SECONDS):
        now = mark()
        if now == seen:
            continue
        try:
            server.served.reload()
        except PipelineError:  # no model to be had now: the old one stays, and is looked for again
            continue
        seen = now
