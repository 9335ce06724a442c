"""Offline evaluation on recorded episodes: errors, and what a policy uses. Closed-loop driving is the final test."""
