"""GET /api/v1/attention: what someone should look at."""

from stowage.attention.reading import AttentionList, read_attention
from stowage.entry.http import Caller, http_app

app = http_app()


@app.get("/api/v1/attention")
def get_attention(caller: Caller) -> AttentionList:
    """List what is not as it should be with the caller's tenants: late, failing and missed backups, and declarations
    that their tables are not like.
    """
    return read_attention(caller.identity, caller.tenants(), caller.now)
