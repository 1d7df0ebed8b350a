"""Archive runs: k-NN scores of an archive of any size, in bounded memory, on one machine or a Ray cluster."""
