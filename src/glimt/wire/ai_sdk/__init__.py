"""The AI SDK's gateway protocol: https://ai-sdk.dev/providers/ai-sdk-providers/ai-gateway."""
