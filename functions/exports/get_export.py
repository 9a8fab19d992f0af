"""GET exports/{exportId}: one export, with a download link."""

from stowage import exports
from stowage.entry.http import Caller, Id, http_app
from stowage.exports.records import ExportRecord

app = http_app()


@app.get("/api/guilds/<guild_id>/exports/<export_id>")
def get_export(caller: Caller, export_id: Id) -> ExportRecord:
    """Show one export; completed ones carry a link that works as long as the file lives."""
    return exports.read_export(caller.tenant_id, caller.identity, export_id, caller.now, caller.base_url)
