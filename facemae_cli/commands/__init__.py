"""The command line: a thin file a command, which takes options, calls the task of its name and shows the result.

Beside them the options that several commands share, `facemae.yaml`, and all that is printed: the console, the progress
bar and the lines on the terminal.
"""
