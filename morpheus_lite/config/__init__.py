"""Options of every command and function, declared once."""
