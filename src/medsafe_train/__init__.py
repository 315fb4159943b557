"""Make a medical language model decline unethical requests and stay useful, and show both."""

__version__ = "0.1.0"
