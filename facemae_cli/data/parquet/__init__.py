"""Parquet as Hugging Face's datasets writes it: an image struct of bytes and path, and a label. Needs pyarrow."""
