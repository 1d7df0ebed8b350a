"""Pretrained encoders, trained further."""
