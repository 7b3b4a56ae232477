"""What is made of a summary: tables, Markdown, CSV and a page."""
