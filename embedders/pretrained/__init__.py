"""Encoders with published weights: loading, front ends, networks, pooling and adapters."""
