"""Encoders with published weights: loading, front ends, layers, pooling, adapters."""
