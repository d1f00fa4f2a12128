"""Runs as a store would have them, for tests of what a page makes of them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from PIL import Image

from pipeline.pages.past import PastRun

SCRIPT = "<script>alert(1)</script>"
START = 1_795_665_522_780  # 26 November 2026, 03:58:42 UTC


def past(**changed: Any) -> PastRun:
    """A finished run of a classification, without files."""
    run = PastRun(
        run_id="0123456789abcdef0123456789abcdef",
        name="mlp-adam-1e-3-k3f9",
        status="FINISHED",
        start=START,
        end=START + 2_500,
        tags={"task": "binary", "data": "shop", "digest": "d1"},
    )
    return replace(run, **changed)


def parquet(rows: Sequence[Mapping[str, object]]) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_parquet(buffer, index=False)
    return buffer.getvalue()


def png(width: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, 30), "white").save(buffer, "PNG")
    return buffer.getvalue()


def shop_predictions() -> bytes:
    """Four test rows of a classification, two of each class, all predicted right with certainty 0.9."""
    labels = ["no", "no", "yes", "yes"]
    rows = [
        {"row": row, "bought": label, "predicted": label, "probability of no": p, "probability of yes": 1 - p}
        for row, (label, p) in enumerate(zip(labels, (0.9, 0.9, 0.1, 0.1), strict=True), start=1)
    ]
    return parquet(rows)
