"""The bytes of a store: shards, manifests, checksums, locks and atomic writes."""
