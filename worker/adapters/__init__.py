"""Adapters: one package for each outside system, which translates its errors."""
