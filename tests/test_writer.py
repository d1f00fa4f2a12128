"""The writer that outlives an absent store, against one that tests turn off and on."""

import threading
import time

from pipeline.writer import Op, Writer


class Store:
    """A store that can be away."""

    def __init__(self) -> None:
        self.away, self.ops = False, list[Op]()

    def send(self, op: Op) -> None:
        if self.away:
            raise ConnectionError("away")
        self.ops.append(op)

    def metrics(self) -> list[tuple[str, float, int]]:
        return [(name, value, step) for op in self.ops for name, value, _, step in op.get("metrics", ())]


def test_writer_batches_metrics_and_keeps_the_order_of_operations() -> None:
    store = Store()
    writer = Writer(store.send, flush_seconds=60)
    for step in range(2500):
        writer.metrics({"loss": float(step)}, step)
    writer.put({"do": "end"})
    assert writer.close(wait_seconds=5) == []
    assert store.metrics() == [("loss", float(step), step) for step in range(2500)]
    assert [len(op.get("metrics", ())) for op in store.ops] == [1000, 1000, 500, 0]
    assert store.ops[-1]["do"] == "end"


def test_writer_sends_metrics_params_and_tags_together_ahead_of_the_rest_and_within_mlflows_limits() -> None:
    store = Store()
    writer = Writer(store.send, flush_seconds=60)
    writer.tags({"status": "running", "task": "binary"})
    writer.put({"do": "file"})
    writer.params({f"p{i}": str(i) for i in range(150)})
    writer.tags({"status": "finished"})
    writer.metrics({f"m{i}": 0.0 for i in range(950)}, 1)
    writer.put({"do": "end"})
    assert writer.close(wait_seconds=5) == []
    assert [op["do"] for op in store.ops] == ["batch", "batch", "file", "end"]
    first, second = store.ops[:2]
    assert first["tags"] == [("status", "finished"), ("task", "binary")]
    assert first["params"] + second["params"] == [(f"p{i}", str(i)) for i in range(150)]
    sizes = [[len(op[kind]) for kind in ("params", "tags", "metrics")] for op in (first, second)]
    assert sizes == [[100, 2, 898], [50, 0, 52]]


def test_writer_keeps_what_a_store_that_is_away_did_not_take_and_sends_it_when_it_is_back() -> None:
    store = Store()
    store.away = True
    writer = Writer(store.send, flush_seconds=0.01)
    writer.metrics({"loss": 1.0}, 1)
    time.sleep(0.1)
    assert store.ops == []
    writer.metrics({"loss": 2.0}, 2)
    threading.Timer(0.3, lambda: setattr(store, "away", False)).start()
    assert writer.close(wait_seconds=20) == []
    assert store.metrics() == [("loss", 1.0, 1), ("loss", 2.0, 2)]


def test_writer_gives_back_what_it_could_not_send() -> None:
    store = Store()
    store.away = True
    writer = Writer(store.send, flush_seconds=0.01)
    writer.metrics({"loss": 1.0}, 1)
    writer.put({"do": "end"})
    left = writer.close(wait_seconds=0)
    assert [op["do"] for op in left] == ["batch", "end"]


def test_metrics_never_wait_for_the_store() -> None:
    gate = threading.Event()
    writer = Writer(lambda op: gate.wait(10), flush_seconds=0.001)
    writer.put({"do": "batch"})
    time.sleep(0.05)  # the writer is inside a slow request now
    before = time.monotonic()
    for step in range(1000):
        writer.metrics({"loss": 0.0}, step)
    assert time.monotonic() - before < 5  # half of what the request takes: it was not waited for
    gate.set()
    assert writer.close(wait_seconds=5) == []
