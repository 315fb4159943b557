"""Reads requests and questions from data/, a file, a folder, a URL or the Hub."""
