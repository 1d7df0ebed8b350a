// Sorts and filters the cards of a report. No imports and no exports: the report has it inline.
