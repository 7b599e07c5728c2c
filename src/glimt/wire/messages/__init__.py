"""Anthropic's Messages format: https://docs.claude.com/en/api/messages."""
