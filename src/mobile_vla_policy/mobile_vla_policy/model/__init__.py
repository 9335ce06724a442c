"""The network: a vision-language backbone, an LSTM action head and their loss."""
