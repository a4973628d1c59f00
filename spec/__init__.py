"""The format: normative pages, a reader in plain Python, and test vectors."""
