"""Datasets in repositories of the Hugging Face hub: push with a card, and pull."""
