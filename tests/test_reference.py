"""The NumPy reference against float64 numbers of transformers 4.57.6, made once by tests/golden/make_golden.py."""
