"""Reads what an offline W&B run wrote: the `.wandb` file, a LevelDB log of protobuf records."""

import json

from wandb.proto import wandb_internal_pb2

HEADER, BLOCK = 7, 32768


def records(path):
    """The records of a file, in their order."""
    data, at, parts = path.read_bytes(), HEADER, []
    assert data[:4] == b":W&B", "not a .wandb file"
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # too little is left of a block for a header
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


def read(path):
    """`config`, `summary`, `history` (a dict for each step), `artifacts` and `exit_code` of a run."""
    found = {"config": {}, "summary": {}, "history": [], "artifacts": [], "exit_code": None}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["config"] |= values(record.run.config.update)
        elif kind == "config":
            found["config"] |= values(record.config.update)
        elif kind == "summary":
            found["summary"] |= values(record.summary.update)
        elif kind == "history":
            found["history"].append(values(record.history.item))
        elif kind == "exit":
            found["exit_code"] = record.exit.exit_code
        elif kind == "request" and record.request.WhichOneof("request_type") == "log_artifact":
            found["artifacts"].append(record.request.log_artifact.artifact)
        elif kind == "artifact":
            found["artifacts"].append(record.artifact)
    return found


def values(items):
    """Protobuf items as a dict; nested keys joined by points."""
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
