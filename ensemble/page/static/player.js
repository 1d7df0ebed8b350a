// Moves the cursor of the pictures that belong to a player. No imports and no exports: the report has it inline.
