"""How a label says that a token is to be distilled; light enough for who only makes rows."""

# Added to the token: collators and packing carry labels along, and no vocabulary is as large.
SOFT = 1 << 24
# The same, and what the base model would say there counts without the words that refusals begin with; one such list after the
# other is at DECIDED, DECIDED + SOFT and so on.
DECIDED = 2 * SOFT
