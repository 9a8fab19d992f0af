"""What no further attempt changes about a login, told by messages: libpq keeps no SQLSTATE of a
connection that failed.

The messages are libpq's own (PostgreSQL's source, `fe-connect.c`, `fe-secure-openssl.c`), psycopg's
for the two parameters that it reads itself, the server's (PostgreSQL documentation, "Authentication
Problems") and PgBouncer's.
"""

import re
from collections.abc import Sequence

from stowage.basics.errors import MisconfiguredError

_TLS = "The database's server and the URL do not agree on TLS: {}."
_PARAMETER = "The database URL's parameter {} cannot be used as it is."

REFUSALS: Sequence[tuple[str, str, str]] = (
    (
        r"replication connection|start (?:WAL sender|walsender)",
        "connection_misconfigured",
        _PARAMETER.format("replication"),
    ),
    (r"\w+ authentication failed", "login_refused", "The database refused Stowage's login."),
    (
        r"(?s)\A(?!.*SSL (?:encryption|on)\b).*no pg_hba\.conf entry [^\n]*(?:no encryption|SSL off)",
        "login_refused",
        "The database refused Stowage's login, which came without TLS; sslmode=require in its URL asks for it.",
    ),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", "login_refused", "The database refused Stowage's login."),
    (r"no password supplied", "login_refused", "The database asks for a password, and Stowage's role has none here."),
    (
        r"requires a valid client certificate|SSL connection is required",
        "login_refused",
        "The database asks for TLS with a client certificate; sslcert and sslkey in its URL name one.",
    ),
    (
        r"no credentials for the role|Tenant or user not found|no such user",
        "login_refused",
        "The pooler in front of the database does not know Stowage's role.",
    ),
    (r"(authentication method requirement) ", "login_refused", "The database asks for another login than the URL."),
    (r"is not currently accepting connections", "database_missing", "The tenant's database takes no connections."),
    (r"permission denied for database", "login_refused", "Stowage's role may not connect to the database."),
    (
        r"role [^\n]+ (?:does not exist|is not permitted to log in)",
        "login_refused",
        "The database has no such role to log in as.",
    ),
    (
        r"database [^\n]+ does not exist|no such database",
        "database_missing",
        "The tenant's database does not exist.",
    ),
    (r"(server does not support SSL)", "tls_refused", _TLS),
    (r"(certificate verify failed)", "tls_refused", _TLS),
    (r"server certificate for .* (does not match host name)", "tls_refused", _TLS),
    (r"(channel binding (?:is )?required|server offered SCRAM-SHA-256-PLUS)", "tls_refused", _TLS),
    (r"(direct SSL connection) ", "tls_refused", _TLS),
    (r"(server (?:did not request|accepted connection without) .*SSL certificate)", "tls_refused", _TLS),
    (
        r"tlsv1[^\n]* (alert [a-z ]+)|sslv3 (alert [a-z ]+)",
        "tls_refused",
        "The database's server refused Stowage's TLS.",
    ),
    (r"(?:URI query parameter|connection option):? \"(\w+)", "connection_misconfigured", _PARAMETER),
    (r"invalid \"?(\w+)\"? value", "connection_misconfigured", _PARAMETER),
    (r"bad value for (\w+)", "connection_misconfigured", _PARAMETER),
    (r"weak (sslmode) ", "connection_misconfigured", _PARAMETER),
    (r"(requirepeer) specifies", "connection_misconfigured", _PARAMETER),
    (r"GSSAPI encryption required", "connection_misconfigured", _PARAMETER.format("gssencmode")),
    (
        r"invalid SSL protocol version range",
        "connection_misconfigured",
        _PARAMETER.format("ssl_min_protocol_version"),
    ),
    (r"invalid SCRAM (client|server) key", "connection_misconfigured", _PARAMETER.format("scram_{}_key")),
    (r"could not parse network address", "connection_misconfigured", _PARAMETER.format("hostaddr")),
    (r"command-line argument for server process", "connection_misconfigured", _PARAMETER.format("options")),
    (r"(sslmode|sslrootcert|channel_binding|\w+) value .* invalid when", "connection_misconfigured", _PARAMETER),
    (r"invalid (port) number|port number \S+ is out of (range)", "connection_misconfigured", _PARAMETER),
    (r"could not match \d+ (\w+)", "connection_misconfigured", "The database URL's {} and its hosts differ in number."),
    (
        r"root certificate file|certificate revocation list",
        "connection_misconfigured",
        _PARAMETER.format("sslrootcert"),
    ),
    (r"private key file|could not load private key", "connection_misconfigured", _PARAMETER.format("sslkey")),
    (
        r"certificate (?:file|present)|could not load.* certificate",
        "connection_misconfigured",
        _PARAMETER.format("sslcert"),
    ),
    (r"definition of (service)|(service) file .* not found", "connection_misconfigured", _PARAMETER),
    (
        r"unsupported startup parameter(?: in options)?: \"?(\w+)",
        "connection_misconfigured",
        "The pooler in front of the database does not take the URL's parameter {}.",
    ),
    (
        r"not allowed in statement pooling mode",
        "connection_misconfigured",
        "The pooler in front of the database shares its sessions between statements (pool_mode=statement); "
        "every request is a transaction.",
    ),
    (
        r"unrecognized configuration parameter \"([\w.]+)\"|invalid value for parameter \"([\w.]+)\""
        r"|permission denied to set (?:parameter \")?([\w.]+)",
        "connection_misconfigured",
        "The server does not take the setting {} of the database URL's options.",
    ),
)
"""What is said, our code for it, our sentence."""


def refusal(messages: str) -> MisconfiguredError | None:
    """The error for a login that was refused for good, None where the messages tell of something
    that may pass.
    """
    for pattern, code, sentence in REFUSALS:
        if found := re.search(pattern, messages):
            return MisconfiguredError(sentence.format(*filter(None, found.groups())), code)
    return None
