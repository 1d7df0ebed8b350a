"""The commands of `featstore`: parse the options, call one function, print what it returns."""
