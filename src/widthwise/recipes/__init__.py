"""Recipes: complete configurations in YAML, and the jobs that run them."""
