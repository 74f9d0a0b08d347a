"""What a study may say: its schema, its YAML file, and the rules that refuse what cannot be meant. Trains nothing."""
