"""Networks as chains of local layers."""
