"""Results on disk, cell by cell."""
