"""OpenAI's Responses format, and Open Responses: https://www.openresponses.org/specification."""
