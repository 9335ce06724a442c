"""The task catalogue: what can be asked for in a scene, in which words, and when it is done."""
