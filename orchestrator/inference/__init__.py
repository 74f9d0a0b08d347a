"""What is taken away: exported models, and the embeddings of a dataset."""
