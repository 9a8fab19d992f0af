-- The purge's role updates records by now (product/0017_purge_updates), in schemas made before too.
SELECT stowage.grant_tenant(current_schema());
