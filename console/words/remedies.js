/* What to do about a run that failed, by the code of its error (docs/operations.md, "When a run fails"). */

const tell = (title, ...steps) => ({ title, steps });
const retry = "Retry this run.";
const rebuild = "Build the worker's image anew from worker/Dockerfile and deploy.";

/** Steps are sentences; `{command}` is one to copy, `{href, text}` a place of the console. */
const TABLE = [
  [["backup_damaged"], tell("The backup is not as it was made.", "Do not restore from it.", "Back up now, then verify the backup before this one.", "Find out what changed the object in storage: the audit log of the bucket says who.")],
  [["schema_missing", "table_missing", "column_missing"], tell("The tenant's tables are not where the registry says.", "Correct the tenant's row in control_plane.projects, or apply your migrations to it.", retry)],
  [["declaration_differs"], tell("A table is no longer as it is declared.", "See all that differs:", { command: ".venv/bin/python -m stowage.entities check" }, "Mend the declaration or the table, then retry.")],
  [["hooks_broken"], tell("hooks.py cannot be used.", "Mend the file, build and deploy.", retry)],
  [["table_absent"], tell("This tenant has no such table.", "Nothing is to be done if it has no such records.")],
  [["permission_denied"], tell("Postgres refused to read or write a table.", "As the owner of the schema, give Stowage's roles what they need:", { command: ".venv/bin/python -m stowage.postgres grant tenant_{slug} --url …" }, retry)],
  [["row_level_security"], tell("Row-level security would hide rows.", "Run the statement that the message gives, as the tables' owner.", retry)],
  [["outside_children"], tell("Parts of the tenant's tables lie in another schema.", "Move each of them:", { command: "ALTER TABLE … SET SCHEMA tenant_{slug};" }, retry)],
  [["server_newer"], tell("The server is newer than the worker's pg_dump.", `${rebuild} Use a newer POSTGRES.`, retry)],
  [["pg_dump_missing"], tell("The worker has no pg_dump.", rebuild, retry)],
  [["archive_unknown"], tell("The worker's pg_dump writes archives that Stowage cannot read.", "Choose the format sql, or deploy a newer Stowage.", retry)],
  [["foreign_schema"], tell("The dump held another schema. It was thrown away.", "Tell the makers of Stowage: this should be impossible.")],
  [["login_refused"], tell("The database refused the login.", "Run roles.sql again as the master user.", "With IAM login: is it switched on for the server?", retry)],
  [["tls_refused"], tell("The server and the address do not agree on TLS.", "Look at sslmode and sslrootcert of DatabaseUrl.", retry)],
  [["connection_misconfigured"], tell("The database's address holds a setting that is refused.", "Correct DatabaseUrl or Databases; the message names the setting.", retry)],
  [["database_missing", "unknown_database"], tell("There is no such database.", "Correct DatabaseUrl, Databases or the tenant's row in control_plane.projects.", retry)],
  [["no_ids"], tell("Nothing makes the keys of these records.", "Correct the declaration's key, or give the column a default.")],
  [["value_too_large"], tell("A value is larger than Postgres can write out.", "Move it into large objects or storage; the message names the table.", retry)],
  [["data_corrupt"], tell("Postgres cannot read a part of a table.", "Look at the server's disk.", "Restore the table from an earlier backup.")],
  [["dump_refused", "export_refused", "import_refused"], tell("The database refused a statement.", "Mend what the message names, then retry.")],
  [["disk_full"], tell("The worker's disk is too small for this format.", "Back up as sql or custom, or give the worker a larger disk.", retry)],
  [["not_utf8"], tell("The database holds bytes that are not UTF-8.", "Mend the values. A backup keeps them as they are.")],
  [["shared_sessions"], tell("A pooler shares sessions, which a backup cannot use.", "Name an address of the server itself, or a pool of sessions.", retry)],
  [["storage_refused"], tell("Storage refused the write or the read.", "Look at the policies of the bucket and of its KMS key.", retry)],
  [["artifact_too_large"], tell("The file does not fit into one object.", "Export fewer rows with filters, or fewer columns.")],
  [["invalid_filter", "value_does_not_fit"], tell("A filter or a value does not fit its column.", "Compare the declaration with the table, or correct the filter.")],
  [["wrong_header", "broken_file", "file_replaced"], tell("The file cannot be imported.", "Mend the file as the message says.", { href: "/new/import", text: "Upload it anew" })],
  [["unknown_kind"], tell("The worker is older than the request.", "Deploy the same version to the worker.", retry)],
  [["cancelled"], tell("Somebody cancelled it.", "Retry it if it is still wanted.")],
  [["missed"], tell("It did not run when it was due.", "Back up now.", "If it returns, look at the database's free connections at that time.")],
  [["database_unavailable"], tell("The database had no room or did not answer.", "Look at its connections and security groups.", retry)],
  [["database_read_only"], tell("The database takes no changes at the moment.", "Point Stowage at the primary, or lift default_transaction_read_only.", retry)],
  [["connection_lost", "database_cut", "database_stopped", "snapshot_lost"], tell("The server ended the connection.", "A restart or a failover does that. Retry this run.")],
  [["lock_timeout"], tell("A table stayed locked.", "Look at what holds it: a migration, VACUUM FULL.", retry)],
  [["count_timeout", "schema_changed"], tell("The tables changed, or counting them took too long.", "Retry when the database has less to do.")],
  [["dump_killed", "dump_failed", "dump_interrupted"], tell("pg_dump ended before its end.", "Retry. If it returns, the worker's log has what pg_dump said.")],
  [["out_of_memory"], tell("The worker ran out of memory.", "Give it more with the parameter WorkerMemory.", retry)],
  [["worker_not_started"], tell("The worker did not start.", "Look at WorkerImage, the subnets' way out and WorkerPublicIp.", retry)],
  [["worker_stopped", "run_interrupted", "superseded"], tell("The worker was stopped.", "Retry. If it returns, look at the worker's log.")],
  [["no_progress"], tell("Nothing moved for too long.", "Look at what the server waits for.", "Allow more with the parameter StaleSeconds.", retry)],
  [["timed_out"], tell("It took longer than it may.", "Look at the server's load, or raise WorkerCpu.", retry)],
  [["storage_unavailable", "storage_mismatch", "upload_ended"], tell("Storage did not take the file.", retry)],
  [["internal_error"], tell("Stowage itself failed.", "Retry once. If it returns, the log has the trace.")],
];

export const REMEDIES = new Map(TABLE.flatMap(([codes, remedy]) => codes.map((code) => [code, remedy])));

export const NO_ADVICE = "We have no advice for this error. Retry once; if it returns, ask your administrator.";
