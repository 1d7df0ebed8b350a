"""Unattended scoring with a fitted model: every new recording of a folder, or an endless stream."""
