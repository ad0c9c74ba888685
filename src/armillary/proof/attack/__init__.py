"""Attack: every known way to fudge a result, planted against a real run, and who catches it."""
