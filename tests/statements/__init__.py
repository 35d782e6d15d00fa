"""Lists of SQL that the suites run, kept apart from the code that runs them so that they can be read."""
