"""The command line: a thin file a command, which takes options, calls the task of its name and shows the result.

Beside them the options that several commands share, the console (all that is printed) and `facemae.yaml`.
"""
