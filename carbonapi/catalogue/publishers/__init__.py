"""The formats in which publishers offer their tables, one module for each publisher."""
