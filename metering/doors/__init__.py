"""How does usage come in from what people already run? Each client's own request, translated into our events."""
