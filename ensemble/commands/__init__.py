"""The commands of `detect`: parse the options, call one function, print what it returns."""
