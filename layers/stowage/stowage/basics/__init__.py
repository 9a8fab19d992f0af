"""What every capability speaks in: errors, ids, times, pages, sizes. Imports no capability."""
