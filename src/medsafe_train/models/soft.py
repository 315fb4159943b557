"""How a label says that a token is to be distilled; light enough for who only makes rows."""

# Added to the token: collators and packing carry labels along, and no vocabulary is as large.
SOFT = 1 << 24
