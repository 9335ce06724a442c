"""How good is a policy on recorded episodes, and does it listen? Offline; driving is what counts in the end."""
