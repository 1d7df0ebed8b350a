"""The files of a store: shards, manifests, checksums, locks and atomic writes."""
