"""The HTTP application: MLflow's scoring protocol, schema, metrics, explanations, and a page for people."""

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route

from pipeline.bundle import Bundle
from pipeline.config import Serve
from pipeline.errors import PipelineError
from pipeline.serving.drift import Meters
from pipeline.serving.explain import explain
from pipeline.serving.models import Resolve, Served
from pipeline.serving.openapi import describe_api, page_of_docs
from pipeline.serving.protocol import RefusedError, Table, describe, parse, read, records, require_fitting

PAGE = Path(__file__).with_name("page.html")
LARGE, N_LARGE = 2**20, 4  # bytes above which a body is large, and how many of those are kept at a time
INLINE_ROWS = 256  # rows that are scored at once, without another thread: less than a millisecond
DRAINED = 4  # times the largest body: so much is read of one that is too large before the connection is closed
OPEN_PATHS = ("/ping", "/health", "/")  # without a token; the page asks for it, and knows nothing of the model

Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class Server:
    """What answers, over a model that can be exchanged."""

    resolve: Resolve
    asked: Serve
    token: str | None = None
    meters: Meters = field(default_factory=Meters)

    def __post_init__(self) -> None:
        self.served = Served(self.resolve, lambda bundle: self.meters.serve(bundle.schema))
        self._large = asyncio.Semaphore(N_LARGE)
        self.max_bytes = int(self.asked.max_megabytes * 2**20)

    # ------------------------------------------------------------ answers
    async def invocations(self, request: Request) -> Response:
        body = await self._body(request)
        content_type = request.headers.get("content-type", "")
        if len(body) < INLINE_ROWS * 40:
            return _json(self._predict(body, content_type))
        return _json(await run_in_threadpool(self._predict, body, content_type))

    async def explain(self, request: Request) -> Response:
        bundle = self.served.bundle
        table = self._table(bundle, await self._body(request), request.headers.get("content-type", ""))
        if table.n_rows > 1:
            raise RefusedError(422, f"one row is explained at a time, got {table.n_rows}")
        rows = read(bundle.schema, table, self.asked.unknown)
        require_fitting(rows)
        return _json({"effects": await run_in_threadpool(explain, bundle, rows.columns)})

    async def schema(self, request: Request) -> Response:
        schema, asked = self.served.bundle.schema, self.asked
        return _json(describe(schema, asked.unknown, max_rows=asked.max_rows, max_bytes=self.max_bytes))

    async def metrics(self, request: Request) -> Response:
        return Response(self.meters.text(), media_type="text/plain; version=0.0.4")

    async def ping(self, request: Request) -> Response:
        return PlainTextResponse("\n")

    async def version(self, request: Request) -> Response:
        schema = self.served.bundle.schema
        own = {"pipeline": version("table-pipeline")}
        return _json(own | {"model": schema.name, "run_id": schema.run_id, "created": schema.created})

    async def reload(self, request: Request) -> Response:
        try:
            changed = await run_in_threadpool(self.served.reload)
        except PipelineError as error:
            raise RefusedError(409, f"the model stays as it is: {error}") from error
        return _json({"changed": changed, "run_id": self.served.bundle.schema.run_id})

    async def page(self, request: Request) -> Response:
        return Response(PAGE.read_bytes(), media_type="text/html")

    async def docs(self, request: Request) -> Response:
        return Response(page_of_docs(self.openapi()), media_type="text/html")

    async def openapi_json(self, request: Request) -> Response:
        return _json(self.openapi())

    def openapi(self) -> dict[str, Any]:
        """The API of the model served now."""
        return describe_api(self.served.bundle.schema, self.asked, with_token=self.token is not None)

    # ------------------------------------------------------------ how
    def _predict(self, body: bytes, content_type: str) -> dict[str, Any]:
        bundle = self.served.bundle
        rows = read(bundle.schema, self._table(bundle, body, content_type), self.asked.unknown)
        self.meters.rows(rows.columns)  # of refused ones, too: by default what is new is refused
        require_fitting(rows)
        return {"predictions": records(bundle.table(bundle.predict(rows.columns)))}

    def _table(self, bundle: Bundle, body: bytes, content_type: str) -> Table:
        return parse(body, content_type, self.asked.max_rows, {column.name for column in bundle.schema.columns})

    async def _body(self, request: Request) -> bytes:
        """The body; of one that is too large no more is kept, and so much read that the sender gets to see why.

        Few large ones are read on at a time, until they are answered: the others wait, and memory stays bounded.
        """
        parts, size, request.state.is_late = [], 0, True
        async for part in request.stream():
            if size <= LARGE < size + len(part):
                request.state.is_late = False
                await request.state.until_answered.enter_async_context(self._large)
                request.state.is_late = True
            size += len(part)
            if size <= self.max_bytes:
                parts.append(part)
            elif size > DRAINED * self.max_bytes:
                break
        if size > self.max_bytes:
            most = f"a request may have {self.max_bytes} bytes"
            raise RefusedError(413, f"{most}; send several, or raise serve.max_megabytes")
        request.state.is_late = False
        return b"".join(parts)

    def _require_token(self, request: Request) -> None:
        if self.token is None or request.url.path in OPEN_PATHS:
            return
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            raise RefusedError(401, "a bearer token is needed: Authorization: Bearer TOKEN")

    def answer(self, path: str, handler: Handler) -> Handler:
        """A handler with token, time limit, errors and counting around it."""

        async def answer(request: Request) -> Response:
            start = time.perf_counter()
            try:
                self._require_token(request)
                async with asyncio.timeout(self.asked.timeout), AsyncExitStack() as request.state.until_answered:
                    response = await handler(request)
            except RefusedError as error:
                error.__traceback__ = None  # in a circle with frames that hold the body
                response = _json(error.body(), error.status)
                if error.status == 401:
                    response.headers["www-authenticate"] = "Bearer"
                if error.status in (401, 413):  # what is left of the body is not read
                    response.headers["connection"] = "close"
            except TimeoutError:
                is_late = getattr(request.state, "is_late", False)  # the sender, not the server, took so long
                status, what = (408, "body took longer to arrive") if is_late else (504, "request took longer")
                response = _json(RefusedError(status, f"the {what} than {self.asked.timeout:g} s").body(), status)
                response.headers["connection"] = "close"
            except ClientDisconnect:
                response = Response(status_code=400)  # nobody is there to read it
            self.meters.request(path, response.status_code, time.perf_counter() - start)
            return response

        return answer


def build_app(server: Server) -> FastAPI:
    """The application."""
    routes: dict[str, tuple[str, Handler]] = {
        "/invocations": ("POST", server.invocations),
        "/explain": ("POST", server.explain),
        "/reload": ("POST", server.reload),
        "/schema": ("GET", server.schema),
        "/metrics": ("GET", server.metrics),
        "/ping": ("GET", server.ping),
        "/health": ("GET", server.ping),
        "/version": ("GET", server.version),
        "/docs": ("GET", server.docs),
        "/openapi.json": ("GET", server.openapi_json),
        "/": ("GET", server.page),
    }
    app = FastAPI(title="pipeline", docs_url=None, redoc_url=None, openapi_url=None)
    app.openapi = server.openapi  # type: ignore[method-assign]
    for path, (method, handler) in routes.items():
        app.router.routes.append(Route(path, server.answer(path, handler), methods=[method]))
    return app


def _json(content: Any, status: int = 200) -> Response:
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))  # ASCII: also of text that UTF-8 cannot hold
    return Response(text.encode(), status, media_type="application/json")
