"""POST exports/estimate: how large an export would be."""

from stowage.entry.http import Caller, http_app
from stowage.exports.estimating import ExportEstimate, estimate_export
from stowage.exports.records import ExportRequest

app = http_app("operator", refuses=(409,))


@app.post("/api/guilds/<guild_id>/exports/estimate")
def estimate(caller: Caller, request: ExportRequest) -> ExportEstimate:
    """Ask Postgres's planner, without starting anything."""
    return estimate_export(caller.tenant, caller.identity, request)
