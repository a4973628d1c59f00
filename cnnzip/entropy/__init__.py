"""Symbols to words and back: numbers, canonical codes."""
