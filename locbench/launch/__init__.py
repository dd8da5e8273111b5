"""From a table and the user's wishes to records and reports. Imports no torch."""
