"""Networks as chains of local layers. Imports no torch."""
