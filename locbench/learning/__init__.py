"""Local learning: what hangs on a cut, which gradient reaches which module, and when."""
