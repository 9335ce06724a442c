"""The scripted expert: drives the shortest way, acts with its gripper, and stops; and the noise that teaches recovery."""
