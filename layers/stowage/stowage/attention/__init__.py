"""What someone should look at: declarations that tables are not like."""
