"""Sections to frames to files: the frame, its two envelopes, limits, atomic writing."""
