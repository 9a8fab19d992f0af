"""A column of every type in a backup: nothing differs where nothing was changed, and what was changed comes back."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

from local.postgres import binaries
from stowage.basics.ids import rfc3339
from stowage.compares.bring_back_request import BringBackRequest
from stowage.compares.bringing_back import bring_back
from stowage.entities.declared import ENTITIES
from stowage.postgres.compares.blocks import Blocks
from stowage.postgres.compares.differences import begin_snapshot, find_differences, read_staged, sides_of
from stowage.postgres.compares.listing import read_differences, read_ids
from stowage.postgres.compares.staging import Staging, drop_staging, refusals, staging_schema
from stowage.postgres.dumps.pg_dump import Dump
from stowage.postgres.session.connection import APP, DUMP, RESTORE, child_login, connect
from stowage.runs.record import Run
from tests.stack.dump_surface import whole
from tests.stack.office import Office
from tests.stack.test_own_types import BOTH_SERVERS, NOW, TYPES, office, rows

__all__ = ["office"]

type Json = Any

HELD = {
    "short": "ab", "small": "1", "whole": "-2", "big": "9007199254740993", "float": "0.1", "real": "0.3",
    "price": "1.10000000", "total": "1.10", "exact": "1.100", "flag": "true",
    "moment": "2026-01-31 09:00:00.123456+00",
    "local": "0044-03-15 12:00:00.5 BC", "born": "infinity", "clock": "24:00:00",
    "span": "1 mon 2 days 03:04:05.000006",
    "ref": "0198c5a4-7d3e-7000-8000-3f5a9c1e2b4d", "doc": '{"b": 1.50, "a": "\\u00e9"}', "note": '{"b":  1, "a": 2}',
    "raw": "\\x00ff5c78", "ip": "10.0.0.1", "mood": "ok", "place": "(1,2)", "period": "[1,5)",
    "tags": '{a,NULL,"b,c\\\\d"}', "sums": "{1.10,NULL}", "days": "{infinity,2026-01-31}",
    "moments": "{2026-01-31 09:00:00+00}", "locals": "{2026-01-31 09:00:00}", "floats": "{NaN,0.1}",
    "nets": "{10.0.0.1}", "path": "$.a", "words": "'cat' & 'dog'",
}  # fmt: skip


@BOTH_SERVERS
def test_every_type_is_compared_and_comes_back(office: Office) -> None:
    assert HELD.keys() == TYPES.keys()
    names = ", ".join(f'"{name}"' for name in HELD)
    marks = ", ".join(f"%s::{sql}" for sql, _ in TYPES.values())
    for _ in range(2):
        office.run(
            f"INSERT INTO kitchens ({names}, created_at, updated_at) VALUES ({marks}, now(), now())", *HELD.values()
        )
    office.run("INSERT INTO kitchens (created_at, updated_at) VALUES (now(), now())")
    changed, gone, empty = sorted(rows(office), key=int)[-3:]
    before = rows(office)

    kitchens, run_id = ENTITIES["kitchens"], str(uuid4())
    staging = staging_schema(run_id, 1)
    login = child_login("main", DUMP)
    data = whole(
        Dump(office.schema, "sql", login.environment, conninfo=login.conninfo, binary=str(binaries() / "pg_dump"))
    )
    with refusals(), connect("main", RESTORE) as restoring, connect("main", APP) as live:
        wanted = {(office.schema, "kitchens"): [kitchens]}
        staged = Staging(restoring, staging, office.id, wanted)
        blocks = Blocks(wanted, staged.opened)
        for start in range(0, len(data), 997):
            blocks.feed(data[start : start + 997])
        blocks.finish()
        assert blocks.error is None
        staged.commit()
        sides = sides_of(live, office.tenant.schema, staging, kitchens, read_staged(live, staging)["kitchens"])
        assert {field.name for field in sides.fields} == {*TYPES, "size"}
        begin_snapshot(live, "UTC")
        counts = find_differences(live, restoring, sides)
        assert counts == {"only_in_backup": 0, "only_live": 0, "changed": 0, "same": len(before)}
        live.execute("COMMIT")

        office.run("DELETE FROM kitchens WHERE id = %s", int(gone))
        office.run(f"UPDATE kitchens SET {', '.join(f'"{name}" = NULL' for name in HELD)} WHERE id = %s", int(changed))
        office.run("UPDATE kitchens SET flag = false WHERE id = %s", int(empty))
        begin_snapshot(live, "UTC")
        counts = find_differences(live, restoring, sides)
        assert counts == {"only_in_backup": 1, "only_live": 0, "changed": 2, "same": len(before) - 3}
        live.execute("COMMIT")
        begin_snapshot(live, "UTC")
        found = read_differences(live, sides, "changed", read_ids(live, sides, "changed", 0, 9), office.id, NOW)
        assert {each.id: each.changed_fields for each in found} == {changed: [*HELD], empty: ["flag"]}
        assert json.loads(found[0].backup or "")["big"] == int(HELD["big"])
        live.execute("COMMIT")

    run = Run(
        id=run_id, tenant=office.id, kind="compare", status="completed", database="main", spec={}, attempt=1,
        requested_by="me", created_at=rfc3339(NOW), expires_at=rfc3339(NOW + timedelta(hours=24)),
    )  # fmt: skip
    answer = bring_back(office.edit(NOW), run, BringBackRequest(entity="kitchens", ids=[changed, gone, empty]), NOW)
    assert (answer.status, json.loads(answer.body)["succeeded"]) == (200, 3)
    assert rows(office) == before
    with connect("main", RESTORE) as restoring:
        drop_staging(restoring, run_id)
        assert restoring.execute("SELECT FROM pg_namespace WHERE nspname = %s", (staging,)).fetchone() is None
