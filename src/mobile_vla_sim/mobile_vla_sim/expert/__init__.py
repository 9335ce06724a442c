"""The scripted expert, and the noise on its driving that teaches recovery."""
