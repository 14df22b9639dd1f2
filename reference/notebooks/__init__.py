"""The homework solved: the notebooks a full submission consists of, its ``predictions.csv`` and ``answers.yaml``."""
