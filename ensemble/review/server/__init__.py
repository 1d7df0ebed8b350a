"""The server of the page: its application, what stands before it, and how it starts."""
