"""Reading an uploaded file row by row, from any row on; `stowage.imports.files.opening` chooses the reader."""

from stowage.imports.files.reading.rows import Broken, Layout, Place, Row, Rows

__all__ = ["Broken", "Layout", "Place", "Row", "Rows"]
