"""Demonstrations and measurements of cnnzip."""
