"""What training and evaluation read: episodes, decoded frames, windows of frames, and where the data came from."""
