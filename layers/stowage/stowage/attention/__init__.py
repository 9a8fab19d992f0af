"""What someone should look at: declarations that tables are not like, and tenants without a verified backup in time."""
