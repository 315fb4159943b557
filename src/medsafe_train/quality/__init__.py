"""Whether demonstrations are fit to be trained on: near-copies, the gate, and the card that tells what came of it."""
