"""The lines of the log and their way out of the process.

events       logging for every process: loguru, the standard library, uncaught exceptions
fields       the names of its fields
line         a line as JSON, within its size, without secrets
console      a line for people
writer       the one writer of a process to its standard output
stdout       what standard output is, and how to write to it
"""
