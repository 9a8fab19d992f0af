-- The audit log is read by time, newest first. Of entries of one moment the later number is the later one.
CREATE INDEX changes_moment ON stowage.changes (tenant, at, seq);
