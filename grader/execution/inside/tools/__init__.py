"""The course's `tools` package as it is in the grader's small world."""
