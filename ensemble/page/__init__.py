"""What the page of `detect review` and the file of `detect report` share: results, cards, pictures and templates."""
