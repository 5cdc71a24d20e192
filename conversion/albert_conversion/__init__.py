"""Readers and writers of foreign ALBERT checkpoints, one file per format."""
