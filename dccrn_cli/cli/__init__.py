"""The command line. Parses, calls the library, prints."""
