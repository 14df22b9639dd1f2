"""Diagnosis: the first executed operation by which a net departs from the wanted function, from the trace's record.

Only what is sure is said: an operation that the record does not tell apart from a right one ends the search.
"""
