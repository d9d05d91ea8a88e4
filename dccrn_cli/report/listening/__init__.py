"""Pages for comparing recordings by ear, and the results of their listening tests."""
