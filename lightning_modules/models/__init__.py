"""A trained model: its folder on disk, the embedder that it becomes, and a gallery of identities."""
