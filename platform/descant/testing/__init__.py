"""Contract suites and checks that ship with the package, for its own tests and for third parties'."""
