"""What the declarations of tables mean in SQL, for reads, edits and the trash alike."""
