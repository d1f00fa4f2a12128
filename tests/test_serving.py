"""The server: MLflow's protocol, every fault named, limits, token, exchange of models; in this process."""

import asyncio
import json
import re
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from pipeline.bundle import Bundle
from pipeline.config import Serve
from pipeline.data.files import MISSING as MISSING_IN_FILES
from pipeline.serving.app import Server, build_app
from pipeline.serving.protocol import EMPTY
from tests.models import TARGETS, bundle_folder_of, frame, row, trained

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette asks for a successor of httpx that its other users do not know
    from starlette.testclient import TestClient

ASKED = Serve(unknown="reject", max_megabytes=1, max_rows=500, timeout=30)


def client(target: str = "bought", token: str | None = None, **changed: object) -> TestClient:
    folder = bundle_folder_of(*trained(target))
    server = Server(lambda: folder, ASKED.model_copy(update=changed), token)
    return TestClient(build_app(server), raise_server_exceptions=True)


@pytest.fixture(scope="module")
def server() -> TestClient:
    return client()


def csv_of(n_rows: int) -> str:
    return frame().drop(columns=list(TARGETS)).head(n_rows).to_csv(index=False)


def split(*rows: dict[str, object]) -> dict[str, Any]:
    return {"columns": list(rows[0]), "data": [list(one.values()) for one in rows]}


# ---------------------------------------------------------------- answers
ONE_OF = "the body must have exactly one of dataframe_split, dataframe_records, inputs, instances; "
FORMS = {
    "dataframe_records": [row(), row(x=2.0)],
    "instances": [row(), row(x=2.0)],
    "inputs": {name: [value, 2.0 if name == "x" else value] for name, value in row().items()},
    "dataframe_split": split(row(), row(x=2.0)),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_mlflows_protocol_gives_the_same_answers(form: str, server: TestClient) -> None:
    answer = server.post("/invocations", json={form: FORMS[form]})
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["predictions"]
    assert set(first) == {"predicted", "probability of no", "probability of yes", "set"}
    assert first["probability of yes"] + first["probability of no"] == pytest.approx(1)
    assert answer.json() == server.post("/invocations", json={"instances": FORMS["instances"]}).json()
    assert first != second


def test_csv_gives_what_json_does(server: TestClient) -> None:
    answer = server.post("/invocations", content=csv_of(1), headers={"Content-Type": "text/csv; charset=utf-8"})
    assert answer.json() == server.post("/invocations", json={"instances": [row()]}).json()


def test_labels_are_of_the_datas_own_type_and_values_have_intervals() -> None:
    (graded,) = client("grade").post("/invocations", json={"instances": [row()]}).json()["predictions"]
    assert isinstance(graded["predicted"], int)
    (valued,) = client("amount").post("/invocations", json={"instances": [row()]}).json()["predictions"]
    assert valued["low"] < valued["predicted"] < valued["high"]


def test_many_rows_are_answered_from_another_thread(server: TestClient) -> None:
    answer = server.post("/invocations", content=csv_of(300), headers={"Content-Type": "text/csv"})
    assert len(answer.json()["predictions"]) == 300


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is not JSON: "),
        (b"{", 400, "the body is not JSON: "),
        (b"[1]", 400, "the body must be a JSON object with one of dataframe_split, "),
        (b"{}", 400, f"{ONE_OF}got none"),
        (b'{"instances": [], "inputs": []}', 400, ONE_OF),
        (b'{"rows": []}', 400, ONE_OF),
        (b'{"instances": [{}], "params": {"a": 1}}', 400, ONE_OF),
        (b'{"instances": {}}', 400, "instances must be a list of objects"),
        (b'{"instances": [1]}', 400, "instances: row 1 must be an object of column and value"),
        (b'{"instances": [{"x": NaN}]}', 400, "the body is not JSON: NaN is no JSON number; use null "),
        (b'{"instances": []}', 422, "the table has no rows; send one at least"),
        (b'{"inputs": {"x": [1], "y": [1, 2]}}', 400, "inputs: columns must be of one length, got 1, 2"),
        (b'{"dataframe_split": []}', 400, "dataframe_split must be an object with columns and data"),
        (b'{"dataframe_split": {"columns": ["a", "a"], "data": []}}', 400, "dataframe_split.columns must be "),
        (b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', 400, "dataframe_split.data: row 1 must "),
        (b"\xff\xfe", 400, "the body is not JSON: "),
        (b"[" * 100_000, 400, "the body is not JSON: "),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_with_the_reason(
    body: bytes, status: int, message: str, server: TestClient
) -> None:
    answer = server.post("/invocations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["message"].startswith(message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "the body is empty; the first line must name the columns"),
        ("a,a\n1,2\n", "the first line must name different columns"),
        ("a,b\n1\n", "row 1 has 1 values, the first line names 2 columns"),
    ],
)
def test_what_is_no_csv_is_refused_with_the_reason(body: str, message: str, server: TestClient) -> None:
    answer = server.post("/invocations", content=body, headers={"Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["message"]) == (400, message)


def test_every_value_that_does_not_fit_is_listed(server: TestClient) -> None:
    bad = {name: value for name, value in row(x="a", colour="pink", extra=1).items() if name != "count"}
    answer = server.post("/invocations", json={"instances": [row(), bad]})
    assert answer.status_code == 422
    told = answer.json()
    assert (told["error_code"], told["message"]) == ("INVALID_PARAMETER_VALUE", "4 values do not fit the model")
    faults = {fault["field"]: fault for fault in told["faults"]}
    assert (faults["x"]["row"], faults["x"]["value"]) == (2, "a")
    assert faults["x"]["expected"].startswith("a number (in training ")
    assert faults["colour"]["expected"] == "one of 'blue', 'green', 'red'"
    assert (faults["count"]["row"], faults["count"]["value"]) == (2, None)
    assert faults["extra"]["row"] is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'"\\ud800"', "\ud800"), (b"1e400", "inf"), (b"[[1e400]]", "[[inf]]"), (b"1" * 400, "1" * 199 + "…"),
        (b'"' + b"a" * 5000 + b'"', "a" * 199 + "…"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("unknown", ["reject", "impute"])
def test_what_json_can_hold_is_told_back_or_taken(text: bytes, told: str, unknown: str) -> None:
    asked = client(unknown=unknown)
    for name in ("x", "colour"):
        body = json.dumps({"instances": [row(**{name: "HERE"})]}).encode().replace(b'"HERE"', text)
        answer = asked.post("/invocations", content=body, headers={"Content-Type": "application/json"})
        if answer.status_code == 200:
            assert (name, unknown) == ("colour", "impute")
        else:
            assert (answer.status_code, answer.json()["faults"][0]["value"]) == (422, told)
    strange = json.dumps({"instances": [row(**{"\ud800": 1})]}).encode()
    answer = asked.post("/invocations", content=strange, headers={"Content-Type": "application/json"})
    assert answer.status_code == (422 if unknown == "reject" else 200)


def test_rows_of_names_of_their_own_do_not_fill_the_memory(server: TestClient) -> None:
    rows = [{f"{number} {name}": 1 for name in range(100)} for number in range(400)]
    start = time.perf_counter()
    answer = server.post("/invocations", json={"instances": rows})
    assert answer.status_code == 422
    assert len(answer.json()["faults"]) == 1000
    assert time.perf_counter() - start < 5


def test_of_very_many_faults_the_first_are_listed_and_rows_keep_their_numbers() -> None:
    asked = client(max_rows=100_000, max_megabytes=16)
    bad = csv_of(1) + csv_of(1).splitlines()[1].replace(csv_of(1).splitlines()[1].split(",")[0], "a") + "\n"
    late = csv_of(1) + (csv_of(1).splitlines()[1] + "\n") * 5000 + bad.splitlines()[2] + "\n"
    told = asked.post("/invocations", content=late, headers={"Content-Type": "text/csv"}).json()
    assert [(fault["row"], fault["field"], fault["value"]) for fault in told["faults"]] == [(5002, "x", "a")]
    many = csv_of(1) + (bad.splitlines()[2] + "\n") * 9000
    told = asked.post("/invocations", content=many, headers={"Content-Type": "text/csv"}).json()
    assert told["message"] == "4095 values or more do not fit the model; the first 1000"
    assert [fault["row"] for fault in told["faults"]] == [*range(2, 1002)]


def test_csv_says_missing_as_training_reads_it(server: TestClient) -> None:
    assert {*MISSING_IN_FILES} == EMPTY
    head, line = csv_of(1).splitlines()
    cells = dict(zip(head.split(","), line.split(","), strict=True)) | {"gappy": "NA", "city": "null"}
    answer = server.post(
        "/invocations", content=f"{head}\n{','.join(cells.values())}\n", headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 200, answer.text
    null = server.post("/invocations", json={"instances": [row(gappy=None, city=None)]})
    assert answer.json() == null.json()


def test_another_charset_is_refused(server: TestClient) -> None:
    kind = {"Content-Type": "application/json; charset=latin-1"}
    assert server.post("/invocations", content=b"{}", headers=kind).status_code == 415


def test_unknown_values_are_taken_where_the_config_says_so() -> None:
    odd = row(x=None, colour="pink", extra=1)
    answer = client(unknown="impute").post("/invocations", json={"instances": [odd]})
    assert answer.status_code == 200
    assert client().post("/invocations", json={"instances": [odd]}).status_code == 422


def test_limits_of_rows_bytes_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client(max_rows=2).post("/invocations", json={"instances": [row()] * 3}).status_code == 413
    small = client(max_megabytes=0.001)
    assert small.post("/invocations", json={"instances": [row()] * 30}).status_code == 413
    parts = iter([b"x" * 600] * 4)  # without a length beforehand
    assert small.post("/invocations", content=parts).status_code == 413
    late = client(timeout=1e-9).post("/invocations", content=csv_of(300), headers={"Content-Type": "text/csv"})
    assert (late.status_code, late.json()["message"]) == (504, "the request took longer than 1e-09 s")


def test_a_body_that_takes_too_long_to_arrive_is_its_senders_fault() -> None:
    async def never_more() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    async def ask() -> int:
        folder = bundle_folder_of(*trained("bought"))
        app = build_app(Server(lambda: folder, ASKED.model_copy(update={"timeout": 0.05})))
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": [], "query_string": b""}
        await app(scope, never_more, send)
        return int(sent[0]["status"])

    assert asyncio.run(ask()) == 408


def test_another_content_type_is_refused(server: TestClient) -> None:
    answer = server.post("/invocations", content=b"x", headers={"Content-Type": "text/html"})
    assert (answer.status_code, answer.json()["message"]) == (
        415, "Content-Type must be application/json or text/csv, got text/html",
    )  # fmt: skip


def test_a_token_is_asked_for_where_one_is_set() -> None:
    guarded = client(token="secret")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
        answer = guarded.post("/invocations", json={"instances": [row()]}, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    right = {"Authorization": "Bearer secret"}
    assert guarded.post("/invocations", json={"instances": [row()]}, headers=right).status_code == 200
    assert [guarded.get(path).status_code for path in ("/ping", "/health", "/")] == [200] * 3
    closed = ("/schema", "/metrics", "/docs", "/openapi.json", "/version")
    assert [guarded.get(path).status_code for path in closed] == [401] * len(closed)


# ---------------------------------------------------------------- what else there is
def test_the_schema_says_what_is_taken_and_what_is_done_about_the_unknown(server: TestClient) -> None:
    told = server.get("/schema").json()
    columns = {column["name"]: column for column in told["columns"]}
    assert (told["name"], told["task"], told["classes"], told["unknown"]) == ("shop", "binary", ["no", "yes"], "reject")
    assert columns["colour"]["levels"] == ["blue", "green", "red"]
    assert (columns["x"]["nullable"], columns["gappy"]["nullable"]) == (False, True)
    assert columns["count"]["integer"]
    example = {column["name"]: column["example"] for column in told["columns"]}
    assert server.post("/invocations", json={"instances": [example]}).status_code == 200


def test_metrics_count_requests_rows_and_drift() -> None:
    counted = client(unknown="impute")
    counted.post("/invocations", json={"instances": [row(x=1e9, colour="pink", city=None), row(x=None)]})
    counted.post("/invocations", content=b"{")
    lines = counted.get("/metrics").text.splitlines()
    for line in (
        'requests_total{path="/invocations",status="200"} 1.0', 'requests_total{path="/invocations",status="400"} 1.0',
        "rows_total 2.0", 'out_of_range_total{column="x"} 1.0', 'unseen_category_total{column="colour"} 1.0',
        'missing_total{column="x"} 1.0', 'missing_total{column="city"} 2.0',
    ):  # fmt: skip
        assert line in lines, line


def test_drift_is_counted_where_it_is_refused() -> None:
    counted = client()
    assert counted.post("/invocations", json={"instances": [row(colour="pink", x=None)]}).status_code == 422
    lines = counted.get("/metrics").text.splitlines()
    for line in ("rows_total 1.0", 'unseen_category_total{column="colour"} 1.0', 'missing_total{column="x"} 1.0'):
        assert line in lines, line


def test_explanations_name_the_inputs_that_move_the_answer_most(server: TestClient) -> None:
    effects = server.post("/explain", json={"instances": [row()]}).json()["effects"]
    assert {effect["column"] for effect in effects} == {*row()}
    swings = [effect["high"] - effect["low"] for effect in effects]
    assert swings == sorted(swings, reverse=True)
    top = effects[0]
    moved = server.post("/invocations", json={"instances": [row(**{top["column"]: top["at_high"]})]})
    assert max(value for name, value in moved.json()["predictions"][0].items() if "prob" in name) >= top["high"] - 1e-9


def test_docs_and_openapi_need_no_other_host(server: TestClient) -> None:
    page = server.get("/docs").text
    assert "POST /invocations" in page
    assert "http://" not in page.replace("http://127.0.0.1", "")
    described = server.get("/openapi.json").json()
    assert set(described["components"]["schemas"]["Row"]["required"]) == {*row()}
    for path in described["paths"]:
        assert server.request("OPTIONS", path).status_code == 405


def test_the_page_loads_nothing_from_elsewhere(server: TestClient) -> None:
    text = server.get("/").text
    assert "<form" in text
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", text)
    assert "@import" not in text


def test_version_and_unknown_paths(server: TestClient) -> None:
    assert server.get("/version").json()["model"] == "shop"
    assert server.get("/nope").status_code == 404
    assert server.get("/invocations").status_code == 405


# ---------------------------------------------------------------- another model
def test_reload_serves_another_model_and_keeps_the_old_where_there_is_none(tmp_path: Path) -> None:
    place = tmp_path / "model"
    shutil.copytree(bundle_folder_of(*trained("bought")), place)
    served = TestClient(build_app(Server(lambda: place, ASKED)))
    assert served.post("/reload").json()["changed"] is False
    shutil.rmtree(place)
    broken = served.post("/reload")
    assert broken.status_code == 409
    assert served.post("/invocations", json={"instances": [row()]}).status_code == 200
    shutil.copytree(bundle_folder_of(*trained("grade")), place)
    assert served.post("/reload").json()["changed"] is True
    (answer,) = served.post("/invocations", json={"instances": [row()]}).json()["predictions"]
    assert answer["predicted"] in (0, 1, 2, 3)
    assert json.loads((place / "bundle.json").read_text())["schema"]["classes"] == [0, 1, 2, 3]
    assert Bundle.load(place).schema.classes == (0, 1, 2, 3)
