"""What happens, in order: one flow a file, and the command line on top of them."""
