"""New pieces for a language: learned, added to a tokenizer, measured on texts, given their first embeddings."""
