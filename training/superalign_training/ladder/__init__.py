"""The `micro` ladder: building, pre-training and measurement of its rungs."""
